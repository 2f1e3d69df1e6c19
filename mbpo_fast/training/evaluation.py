"""Whole games by a frozen policy: raw scores, every game that was begun, intervals by bootstrap."""

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
Game = tuple[float, int, int, bool]
"""Raw score, agent steps, a mark that only games of the same course share, and whether it was cut."""
_STREAM = Stream.EXPLORE
# No game is as long: groups of lanes never share a draw.
_DRAWS_OF_A_GROUP = 2**32


@dataclass(frozen=True)
class Evaluation:
    """Scores of whole games and what they amount to; `cut` of them met the limit of steps and had no end."""

    episodes: int
    mean: float
    std: float
    ci95: tuple[float, float]
    median: float
    min: float
    max: float
    distinct_games: int
    cut: int
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
    A lane that ends its game begins the next of the `episodes`; then it rests. Every game that was begun is
    played to its end and counts, so short games are not preferred. The same policy, environments and seed
    give the same scores, whatever the workers.
    """
    table = _Table(episodes)
    groups = [_Group(env, table, seed, i * _DRAWS_OF_A_GROUP) for i, env in enumerate(envs)]
    while playing := [group for group in groups if not group.finished]:
        for group in playing:
            group.end_step()
            if not group.finished:
                group.begin_step(policy.act(group.obs, epsilon, seed=seed, stream=_STREAM, step=group.step))
    return _summarise(table.games, protocol)


class _Table:
    """Deals the games by number, in the order in which they begin, and takes down how they ended."""

    def __init__(self, episodes: int) -> None:
        self._ended: list[Game | None] = [None] * episodes
        self._begun = 0

    @property
    def games(self) -> list[Game]:
        """All games by number, once they have ended."""
        return [game for game in self._ended if game is not None]

    def deal(self) -> int | None:
        """The number of the next game to begin, or None when all have begun."""
        if self._begun == len(self._ended):
            return None
        self._begun += 1
        return self._begun - 1

    def take_down(self, number: int, game: Game) -> None:
        self._ended[number] = game


class _Group:
    """The lanes of one environment and the game that each is playing, if it does not rest."""

    def __init__(self, env: GameVectorEnv, table: _Table, seed: int, first_step: int) -> None:
        self.env = env
        self.step = first_step
        self._table = table
        self._playing = [table.deal() for _ in range(env.num_envs)]
        self._action: NDArray[np.int64] | None = None
        self.obs, _ = env.reset(seed=seed)
        self._marks = [zlib.crc32(stack.tobytes()) for stack in self.obs]

    @property
    def finished(self) -> bool:
        """Whether every lane rests."""
        return all(number is None for number in self._playing)

    def begin_step(self, action: NDArray[np.int64]) -> None:
        self._action = action
        self.step += 1
        self.env.step_async(action, rests=np.array([number is None for number in self._playing]))

    def end_step(self) -> None:
        """Wait for the step under way, if there is one, and take down the games that it ended."""
        if self._action is None:
            return
        self.obs, _, _, truncated, infos = self.env.step_wait()
        for lane, number in enumerate(self._playing):
            if number is None:
                continue
            reset = infos["reset"][lane]
            mark = self.obs[lane] if reset else self._action[lane]
            self._marks[lane] = zlib.crc32(mark.tobytes(), 0 if reset else self._marks[lane])
            if infos["game_over"][lane]:
                score, length = float(infos["game_score"][lane]), int(infos["game_length"][lane])
                self._table.take_down(number, (score, length, self._marks[lane], bool(truncated[lane])))
                self._playing[lane] = self._table.deal()


def _summarise(games: list[Game], protocol: str) -> Evaluation:
    scores = np.array([score for score, *_ in games])
    cut = sum(was_cut for *_, was_cut in games)
    return Evaluation(
        episodes=len(games),
        mean=float(scores.mean()),
        std=float(scores.std(ddof=1)) if len(games) > 1 else 0.0,
        ci95=mean_interval(scores),
        median=float(np.median(scores)),
        min=float(scores.min()),
        max=float(scores.max()),
        distinct_games=len({mark for _, _, mark, _ in games}),
        cut=cut,
        protocol=protocol + (f", {cut} of them cut at the limit of steps" if cut else ""),
        scores=[float(score) for score in scores],
        lengths=[length for _, length, *_ in games],
    )


def mean_interval(scores: NDArray[np.float64]) -> tuple[float, float]:
    """95 % percentile-bootstrap interval of the mean of [n] scores, with fixed resamples."""
    rng, count = np.random.default_rng(0), len(scores)
    # Some at a time: all resamples of ten thousand games would take more than a gigabyte.
    most = max(1, 1_000_000 // count)
    parts = (min(most, BOOTSTRAP_RESAMPLES - done) for done in range(0, BOOTSTRAP_RESAMPLES, most))
    means = np.concatenate([scores[rng.integers(0, count, (rows, count))].mean(axis=1) for rows in parts])
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
