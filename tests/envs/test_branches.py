"""A branch from a stored moment shows what the environment itself showed, byte for byte."""

from pathlib import Path

import numpy as np
import pytest

from mbpo_fast.envs import EnvSettings, make_vec
from mbpo_fast.envs.branches import BranchGame, branch_states

LANES = 2


def play(env_id: str, steps: int, **settings: object) -> tuple[list, list, list]:
    """States, observations [N, 4, h, w] at every step, and (action, reward, terminated, reset, game_over)."""
    env = make_vec(env_id, LANES, seed=7, **settings)
    obs, _ = env.reset(seed=7)
    rng = np.random.default_rng(0)
    states, seen, rows = [branch_states(env.get_state())], [obs], []
    for _ in range(steps):
        action = rng.integers(0, len(env.action_meanings), LANES)
        obs, reward, terminated, truncated, infos = env.step(action)
        states.append(branch_states(env.get_state()))
        seen.append(obs)
        rows.append((action, reward, terminated | truncated, infos["reset"], infos["game_over"]))
    env.close()
    return states, seen, rows


def compare(env_id: str, steps: int, horizon: int, every: int, **settings: object) -> dict[str, int]:
    """Play branches of the logged actions from every `every`-th step, in an order unlike the game's."""
    states, seen, rows = play(env_id, steps, **settings)
    game = BranchGame(env_id, EnvSettings(**settings))  # type: ignore[arg-type]
    counts = {"steps": 0, "ends": 0, "rewards": 0, "lost": 0, "lost_frames_differ": 0}
    starts = np.random.default_rng(1).permutation(np.arange(0, steps - horizon, every))
    for start in starts.tolist():
        for lane in range(LANES):
            moment, newest = game.start(states[start], lane), seen[start][lane, -1]
            for t in range(start, start + horizon):
                action, reward, ended, reset, lost = (column[lane] for column in rows[t])
                if reset:
                    break
                newest, got_reward, got_end = game.step(moment, int(action), newest)
                moment = game.moment()
                same = np.array_equal(newest, seen[t + 1][lane, -1])
                assert (got_reward, got_end) == (reward, ended), (start, lane, t)
                assert same or (lost and env_id != "Catch"), (start, lane, t)
                counts["steps"] += 1
                counts["ends"] += int(ended)
                counts["rewards"] += int(reward != 0)
                counts["lost"] += int(lost)
                counts["lost_frames_differ"] += int(not same)
                if ended:
                    break
    return counts


def test_catch() -> None:
    counts = compare("Catch", 120, horizon=5, every=1)
    assert counts["ends"] > 20
    assert counts["rewards"] == counts["ends"]


def test_space_invaders() -> None:
    pytest.importorskip("ale_py")
    counts = compare("SpaceInvadersNoFrameskip-v4", 260, horizon=3, every=13)
    assert counts["steps"] > 80


@pytest.mark.slow
def test_whole_games_of_space_invaders() -> None:
    """Lost lives, rewards and lost games; only the frame of a lost game's last step may be another."""
    pytest.importorskip("ale_py")
    counts = compare("SpaceInvadersNoFrameskip-v4", 1500, horizon=5, every=4)
    assert counts["rewards"] > 30
    assert counts["ends"] > 3
    assert counts["lost"] > 0
    print(counts)


def test_states_are_small_and_without_the_games_past() -> None:
    pytest.importorskip("ale_py")
    states, _, _ = play("SpaceInvadersNoFrameskip-v4", 40)
    assert {name.rpartition(".")[2] for name in states[-1]} == {"emulator", "counters"}
    assert sum(array.nbytes for array in states[-1].values()) < 8500 * LANES


def test_a_branch_ignores_the_limit_of_steps_and_clips_rewards_by_setting() -> None:
    settings = EnvSettings(max_episode_steps=3)
    states, seen, _ = play("Catch", 2, max_episode_steps=3)
    game = BranchGame("Catch", settings)
    moment, newest = game.start(states[2], 0), seen[2][0, -1]
    for _ in range(5):
        newest, _, ended = game.step(moment, 1, newest)
        moment = game.moment()
        assert not ended


def test_no_file_but_the_emulators_knows_ale() -> None:
    text = (Path(__file__).parents[2] / "mbpo_fast/envs/branches.py").read_text()
    assert "ale_py" not in text
