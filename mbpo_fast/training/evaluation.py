"""Whole games by a frozen policy: raw scores, a fixed number of games a lane, intervals by bootstrap."""

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbpo_fast.envs import GameVectorEnv
from mbpo_fast.models.rollout import Policy
from mbpo_fast.ops import Stream

BOOTSTRAP_RESAMPLES = 10_000
Game = tuple[float, int, int]
"""Raw score, agent steps, and a mark that only games of the same course share."""
_STREAM = Stream.EXPLORE
# No game is as long: groups of lanes never share a draw.
_DRAWS_OF_A_GROUP = 2**32


@dataclass(frozen=True)
class Evaluation:
    """Scores of whole games and what they amount to."""

    episodes: int
    mean: float
    std: float
    ci95: tuple[float, float]
    median: float
    min: float
    max: float
    distinct_games: int
    protocol: str
    scores: list[float]
    lengths: list[int]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and text, for JSON."""
        return asdict(self)


def evaluate_policy(
    policy: Policy,
    envs: Sequence[GameVectorEnv],
    *,
    episodes: int,
    seed: int,
    epsilon: float,
    protocol: str,
) -> Evaluation:
    """Play `episodes` whole games on the lanes of `envs`, which must not end episodes at a lost life.

    While the policy acts on the lanes of one environment, those of the others step, if they have workers.
    The games are dealt to the lanes beforehand (game i to lane i mod N), so that short games are not
    preferred. The same policy, environments and seed give the same scores, whatever the workers.
    """
    lanes = sum(env.num_envs for env in envs)
    due = [len(range(lane, episodes, lanes)) for lane in range(lanes)]
    groups: list[_Group] = []
    for env in envs:
        first = sum(group.env.num_envs for group in groups)
        groups.append(_Group(env, due[first : first + env.num_envs], seed, len(groups) * _DRAWS_OF_A_GROUP))
    while playing := [group for group in groups if not group.finished]:
        for group in playing:
            group.end_step()
            if not group.finished:
                group.begin_step(policy.act(group.obs, epsilon, seed=seed, stream=_STREAM, step=group.step))
    played = [games for group in groups for games in group.played]
    # Back to the order in which the games were dealt.
    return _summarise([played[i % lanes][i // lanes] for i in range(episodes)], protocol)


class _Group:
    """The lanes of one environment: the games that they owe and those that they have played."""

    def __init__(self, env: GameVectorEnv, due: list[int], seed: int, first_step: int) -> None:
        self.env = env
        self.step = first_step
        self.played: list[list[Game]] = [[] for _ in due]
        self._due = due
        self._action: NDArray[np.int64] | None = None
        self.obs, _ = env.reset(seed=seed)
        self._marks = [zlib.crc32(stack.tobytes()) for stack in self.obs]

    @property
    def finished(self) -> bool:
        """Whether every lane has played its games."""
        return all(len(games) >= count for games, count in zip(self.played, self._due, strict=True))

    def begin_step(self, action: NDArray[np.int64]) -> None:
        self._action = action
        self.step += 1
        self.env.step_async(action)

    def end_step(self) -> None:
        """Wait for the step under way, if there is one, and take down the games that it ended."""
        if self._action is None:
            return
        self.obs, _, _, _, infos = self.env.step_wait()
        for lane, games in enumerate(self.played):
            reset = infos["reset"][lane]
            mark = self.obs[lane] if reset else self._action[lane]
            self._marks[lane] = zlib.crc32(mark.tobytes(), 0 if reset else self._marks[lane])
            if infos["game_over"][lane] and len(games) < self._due[lane]:
                score, length = float(infos["game_score"][lane]), int(infos["game_length"][lane])
                games.append((score, length, self._marks[lane]))


def _summarise(games: list[Game], protocol: str) -> Evaluation:
    scores = np.array([score for score, _, _ in games])
    return Evaluation(
        episodes=len(games),
        mean=float(scores.mean()),
        std=float(scores.std(ddof=1)) if len(games) > 1 else 0.0,
        ci95=mean_interval(scores),
        median=float(np.median(scores)),
        min=float(scores.min()),
        max=float(scores.max()),
        distinct_games=len({mark for _, _, mark in games}),
        protocol=protocol,
        scores=[float(score) for score in scores],
        lengths=[length for _, length, _ in games],
    )


def mean_interval(scores: NDArray[np.float64]) -> tuple[float, float]:
    """95 % percentile-bootstrap interval of the mean of [n] scores, with fixed resamples."""
    draws = np.random.default_rng(0).integers(0, len(scores), (BOOTSTRAP_RESAMPLES, len(scores)))
    low, high = np.percentile(scores[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)
