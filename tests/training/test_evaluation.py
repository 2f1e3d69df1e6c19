"""Evaluation: whole games, all of them counted, the same scores whatever the workers."""

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
    assert result.cut == 0
    return result.scores


def test_workers_do_not_change_the_scores() -> None:
    assert scores(4, 0) == scores(4, 2)


class Clockwork:
    """Lane i plays games of `lengths[i]` steps and scores ten times its number."""

    def __init__(self, lengths: list[int], first: int = 0) -> None:
        self.lengths, self.num_envs = np.array(lengths), len(lengths)
        self.score = 10.0 * np.arange(first, first + len(lengths))
        self.played = np.zeros(len(lengths), np.int64)

    def reset(self, seed: int) -> Any:
        return np.zeros((self.num_envs, 4, 4, 4), np.uint8), {}

    def step_async(self, action: Any, rests: Any) -> None:
        self.played += ~rests

    def step_wait(self) -> Any:
        infos = {
            "reset": np.zeros(self.num_envs, bool),
            "game_over": self.played % self.lengths == 0,
            "game_score": self.score,
            "game_length": self.lengths,
        }
        return np.zeros((self.num_envs, 4, 4, 4), np.uint8), None, None, np.zeros(self.num_envs, bool), infos


def clockwork_scores(envs: list[Any], episodes: int) -> list[float]:
    return evaluate_policy(RandomPolicy(2), envs, episodes=episodes, seed=0, epsilon=1.0, protocol="").scores


def test_every_game_that_was_begun_counts_and_idle_lanes_rest() -> None:
    """Lane 0 loses at once; the long game of lane 1, begun second, is waited for."""
    env = Clockwork([1, 50])
    assert clockwork_scores([env], 5) == [0.0, 10.0, 0.0, 0.0, 0.0]
    assert env.played.tolist() == [4, 50]


def test_lanes_of_two_groups_share_the_games() -> None:
    halves = [Clockwork([2, 2, 2]), Clockwork([2, 4], first=3)]
    assert clockwork_scores(halves, 8) == [0.0, 10.0, 20.0, 30.0, 40.0, 0.0, 10.0, 20.0]
    assert [half.played.tolist() for half in halves] == [[4, 4, 4], [2, 4]]


def test_fewer_games_than_lanes() -> None:
    env = Clockwork([3, 3, 3])
    assert clockwork_scores([env], 2) == [0.0, 10.0]
    assert env.played.tolist() == [3, 3, 0]


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


def test_games_that_are_cut_are_counted_and_said() -> None:
    env = make_vec("Catch", 2, seed=5, episodic_life=False, max_episode_steps=5)
    result = evaluate_policy(RandomPolicy(3), [env], episodes=4, seed=5, epsilon=1.0, protocol="whole games")
    assert (result.cut, result.lengths) == (4, [5, 5, 5, 5])
    assert result.protocol == "whole games, 4 of them cut at the limit of steps"


class Noting(RandomPolicy):
    def __init__(self) -> None:
        super().__init__(1)
        self.epsilons: set[float] = set()

    def act(self, obs: Any, epsilon: float, **keys: Any) -> Any:
        self.epsilons.add(epsilon)
        return super().act(obs, epsilon, **keys)


def test_games_of_the_same_course_count_once_and_the_policy_explores_as_asked() -> None:
    policy = Noting()
    same = evaluate_policy(policy, [Clockwork([3, 3])], episodes=2, seed=0, epsilon=0.25, protocol="")
    assert same.distinct_games == 1
    assert policy.epsilons == {0.25}
    longer = evaluate_policy(policy, [Clockwork([3, 4])], episodes=2, seed=0, epsilon=0.25, protocol="")
    assert longer.distinct_games == 2
    drawn = evaluate_policy(
        RandomPolicy(1000), [Clockwork([3, 3])], episodes=2, seed=0, epsilon=1.0, protocol=""
    )
    assert drawn.distinct_games == 2


def test_interval_covers_the_mean_and_narrows() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.normal(10, 3, 20), rng.normal(10, 3, 2000)
    low, high = mean_interval(few)
    assert low < few.mean() < high
    assert 0.5 * 2 * 1.96 * 3 / 20**0.5 < high - low < 1.5 * 2 * 1.96 * 3 / 20**0.5
    low, high = mean_interval(many)
    assert high - low == pytest.approx(2 * 1.96 * 3 / 2000**0.5, rel=0.1)
    assert mean_interval(np.array([5.0])) == (5.0, 5.0)
