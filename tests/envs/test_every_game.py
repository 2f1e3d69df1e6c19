"""Every one-player game of ale-py: reset, steps, an exact state."""

import numpy as np
import pytest

from mbpo_fast.envs import make_env, verify_env
from mbpo_fast.envs.atari import game_names

pytest.importorskip("ale_py")


def test_all_of_them_are_known():
    import gymnasium

    registered = {spec.removeprefix("ALE/")[:-3] for spec in gymnasium.registry if spec.startswith("ALE/")}
    assert set(game_names()) == registered
    assert len(registered) >= 104


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(game_names()))
def test_steps_and_an_exact_state(name):
    env_id = f"ALE/{name}-v5"
    env = make_env(env_id, seed=1)
    assert all(row.ok for row in verify_env(env_id))
    actions = np.random.default_rng(0).integers(0, len(env.action_meanings), 200)
    env.reset()
    for part in (actions[:33], actions[:18]):
        play(env, part)
        # What an earlier game leaves behind in the machine must not matter either.
        env._lane.game.end_game()
        env.reset()
    play(env, actions[:100])
    state = env.get_state()
    want = play(env, actions[100:])
    other = make_env(env_id, seed=2)
    other.set_state(state)
    np.testing.assert_array_equal(play(other, actions[100:]), want)


def play(env, actions):
    frames = []
    for action in actions:
        obs, _, terminated, truncated, _ = env.step(action)
        assert obs.shape == (4, 84, 84)
        frames.append(env.reset()[0][-1] if terminated or truncated else obs[-1])
    return np.stack(frames)
