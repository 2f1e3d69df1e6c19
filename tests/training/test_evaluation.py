"""Evaluation: whole games, a fixed number a lane, the same scores whatever the workers."""

from typing import Any

import numpy as np
import pytest

from mbpo_fast.envs import make_vec
from mbpo_fast.ops import Stream, random_integers
from mbpo_fast.training.evaluation import evaluate_policy, mean_interval


class RandomPolicy:
    def __init__(self, actions: int) -> None:
        self.actions = actions

    def act(self, obs: Any, epsilon: float, *, seed: int, stream: Stream, step: int) -> Any:
        return random_integers(seed, stream, step, len(obs), self.actions)


def scores(lanes: int, workers: int, env_id: str = "Catch", episodes: int = 10) -> list[float]:
    env = make_vec(env_id, lanes, seed=5, workers=workers, episodic_life=False)
    result = evaluate_policy(
        RandomPolicy(int(env.single_action_space.n)),
        [env],
        episodes=episodes,
        seed=5,
        epsilon=1.0,
        protocol="test",
    )
    env.close()
    assert result.episodes == len(result.scores) == len(result.lengths) == episodes
    assert result.mean == pytest.approx(np.mean(result.scores))
    return result.scores


def test_workers_do_not_change_the_scores() -> None:
    assert scores(4, 0) == scores(4, 2)


def test_games_are_dealt_to_lanes_beforehand() -> None:
    """Lane 0 loses at once, lane 1 plays long games: both still play half of them."""

    class Uneven:
        num_envs = 2

        def reset(self, seed: int) -> Any:
            self.t = 0
            return np.zeros((2, 4, 4, 4), np.uint8), {}

        def step_async(self, action: Any) -> None:
            self.t += 1

        def step_wait(self) -> Any:
            over = np.array([True, self.t % 50 == 0])
            infos = {
                "reset": np.zeros(2, bool),
                "game_over": over,
                "game_score": np.array([1.0, 100.0]),
                "game_length": np.array([1, 50]),
            }
            return np.zeros((2, 4, 4, 4), np.uint8), None, None, None, infos

    result = evaluate_policy(RandomPolicy(2), [Uneven()], episodes=5, seed=0, epsilon=1.0, protocol="")
    assert result.scores == [1.0, 100.0, 1.0, 100.0, 1.0]


def test_lanes_in_two_groups_owe_the_same_games() -> None:
    class Counting:
        """Every game ends at once with its lane's number as the score."""

        def __init__(self, first: int, num_envs: int) -> None:
            self.first, self.num_envs, self.steps = first, num_envs, 0

        def reset(self, seed: int) -> Any:
            return np.zeros((self.num_envs, 4, 4, 4), np.uint8), {}

        def step_async(self, action: Any) -> None:
            self.steps += 1

        def step_wait(self) -> Any:
            n = self.num_envs
            infos = {"reset": np.zeros(n, bool), "game_over": np.ones(n, bool)}
            infos |= {"game_score": np.arange(self.first, self.first + n), "game_length": np.ones(n, int)}
            return np.zeros((n, 4, 4, 4), np.uint8), None, None, None, infos

    halves = [Counting(0, 3), Counting(3, 2)]
    result = evaluate_policy(RandomPolicy(2), halves, episodes=8, seed=0, epsilon=1.0, protocol="")
    assert result.scores == [0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 2.0]
    assert [half.steps for half in halves] == [2, 1], "a group that has played its games rests"


def test_groups_of_lanes_draw_different_actions() -> None:
    drawn = []

    class Noting(RandomPolicy):
        def act(self, obs: Any, epsilon: float, *, seed: int, stream: Stream, step: int) -> Any:
            action = super().act(obs, epsilon, seed=seed, stream=stream, step=step)
            drawn.append(action.tolist())
            return action

    halves = [make_vec("Catch", 8, first_lane=first) for first in (0, 8)]
    evaluate_policy(Noting(3), halves, episodes=16, seed=0, epsilon=1.0, protocol="")
    assert drawn[0] != drawn[1]


def test_scores_are_raw_and_of_whole_games() -> None:
    played = scores(2, 0, "SpaceInvadersNoFrameskip-v4", episodes=2)
    assert all(score % 5 == 0 for score in played)
    assert max(played) > 30, "a clipped or per-life score would be smaller"


def test_interval_covers_the_mean_and_narrows() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.normal(10, 3, 20), rng.normal(10, 3, 2000)
    low, high = mean_interval(few)
    assert low < few.mean() < high
    assert 0.5 * 2 * 1.96 * 3 / 20**0.5 < high - low < 1.5 * 2 * 1.96 * 3 / 20**0.5
    low, high = mean_interval(many)
    assert high - low == pytest.approx(2 * 1.96 * 3 / 2000**0.5, rel=0.1)
    assert mean_interval(np.array([5.0])) == (5.0, 5.0)
