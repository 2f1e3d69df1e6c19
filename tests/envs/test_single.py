"""One game as a gymnasium.Env."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from mbpo_fast.envs import make_env

IDS = ["SpaceInvadersNoFrameskip-v4", "ALE/Breakout-v5", "Catch"]


@pytest.mark.parametrize("env_id", IDS)
def test_check_env_has_no_complaint(env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make_env(env_id, render_mode="rgb_array"))


def test_check_env_has_no_complaint_about_other_settings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make_env("Catch", scale_obs=True, stack_size=2, padding_type="zero"))


@pytest.mark.parametrize("env_id", IDS)
def test_equal_seeds_give_equal_games(env_id):
    actions = np.random.default_rng(0).integers(0, 3, 60)
    runs = []
    for env in (make_env(env_id, seed=3), make_env(env_id)):
        obs = [env.reset(seed=None if not runs else 3)[0]]
        for action in actions:
            obs.append(env.step(action)[0])
            if env._lane.ended:
                obs.append(env.reset()[0])
        runs.append(np.stack(obs))
    np.testing.assert_array_equal(runs[0], runs[1])


def test_gymnasium_make_builds_it_again_from_its_spec():
    env = make_env("Catch", stack_size=2, screen_size=24)
    again = gymnasium.make(env.spec)
    assert again.reset(seed=1)[0].shape == (2, 24, 24)
    np.testing.assert_array_equal(again.reset(seed=1)[0], env.reset(seed=1)[0])


def test_infos_are_plain_numbers():
    env = make_env("Catch")
    info = env.reset()[1]
    assert {name: type(value) for name, value in info.items()} == {
        "reset": bool,
        "raw_reward": float,
        "lives": int,
        "game_over": bool,
        "game_score": float,
        "game_length": int,
    }
    for _ in range(11):
        _, reward, terminated, truncated, info = env.step(1)
    assert (terminated, truncated, info["game_over"], info["game_length"]) == (True, False, True, 11)
    assert info["game_score"] == reward


def test_steps_outside_an_episode_are_refused():
    env = make_env("Catch", autoreset_mode="SAME_STEP")
    with pytest.raises(RuntimeError, match=r"\[step\] expected reset\(\) first"):
        env.step(0)
    env.reset()
    for _ in range(11):
        env.step(0)
    with pytest.raises(RuntimeError, match=r"\[step\] expected reset\(\) first"):
        env.step(0)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (3, r"\[step\] expected an action in 0..2, got 3"),
        (-1, r"\[step\] expected an action in 0..2, got -1"),
        (1.0, r"\[step\] expected one integer action, got 1.0"),
        ([1], r"\[step\] expected one integer action, got \[1\]"),
    ],
)
def test_bad_actions_are_refused(action, message):
    env = make_env("Catch")
    env.reset()
    with pytest.raises(ValueError, match=message):
        env.step(action)


def test_a_restored_game_goes_on():
    env = make_env("SpaceInvadersNoFrameskip-v4")
    env.reset()
    for _ in range(30):
        env.step(1)
    state = env.get_state()
    want = [env.step(3)[0] for _ in range(30)]
    other = make_env("SpaceInvadersNoFrameskip-v4")
    other.set_state(state)
    np.testing.assert_array_equal([other.step(3)[0] for _ in range(30)], want)


def test_render_shows_the_screen_in_colour():
    env = make_env("SpaceInvadersNoFrameskip-v4", render_mode="rgb_array")
    env.reset()
    assert env.render().shape == (210, 160, 3)
    assert env.render().any()
    with pytest.raises(ValueError, match=r"\[render\] expected render_mode='rgb_array'"):
        make_env("Catch").render()
