"""Whole games by a frozen policy: raw scores, a fixed number of games a lane, intervals by bootstrap."""

import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from mbpo_fast.models.rollout import Policy
from mbpo_fast.ops import Stream

BOOTSTRAP_RESAMPLES = 10_000


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
    env: VectorEnv[Any, Any, Any],
    *,
    episodes: int,
    seed: int,
    epsilon: float,
    protocol: str,
    on_step: Callable[[NDArray[np.uint8], dict[str, Any]], None] | None = None,
) -> Evaluation:
    """Play `episodes` whole games on `env`, which must not end episodes at a lost life.

    The games are dealt to the lanes beforehand (game i to lane i mod N), so that short games are not
    preferred. The same policy, environment and seed give the same scores.
    """
    lanes = env.num_envs
    due = [len(range(lane, episodes, lanes)) for lane in range(lanes)]
    played: list[list[tuple[float, int, int]]] = [[] for _ in range(lanes)]
    obs, infos = env.reset(seed=seed)
    marks = [zlib.crc32(obs[lane].tobytes()) for lane in range(lanes)]
    step = 0
    while any(len(games) < count for games, count in zip(played, due, strict=True)):
        action = policy.act(obs, epsilon, seed=seed, stream=Stream.EXPLORE, step=step)
        obs, _, _, _, infos = env.step(action)
        for lane in range(lanes):
            mark = obs[lane] if infos["reset"][lane] else action[lane]
            marks[lane] = zlib.crc32(mark.tobytes(), 0 if infos["reset"][lane] else marks[lane])
            if infos["game_over"][lane] and len(played[lane]) < due[lane]:
                game = (float(infos["game_score"][lane]), int(infos["game_length"][lane]), marks[lane])
                played[lane].append(game)
        if on_step is not None:
            on_step(obs, infos)
        step += 1
    # Back to the order in which the games were dealt.
    games = [played[i % lanes][i // lanes] for i in range(episodes)]
    return _summarise(games, protocol)


def _summarise(games: list[tuple[float, int, int]], protocol: str) -> Evaluation:
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
