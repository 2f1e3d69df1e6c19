"""Means and intervals over seeds, and when a score was first reached."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mbpo_fast.training.evaluation import BOOTSTRAP_RESAMPLES
from mbpo_fast.training.reports.svg import Points

EXACT_SEEDS = 5
"""With so many values or fewer, every one of the n^n resamples is used; with more, 10,000 drawn ones."""
METHOD = (
    "95 % percentile bootstrap of the mean over seeds, from all resamples for up to "
    f"{EXACT_SEEDS} seeds and from {BOOTSTRAP_RESAMPLES:,} drawn ones for more"
)
GRID = 100
Line = Mapping[str, Any]


class CurvePoint(NamedTuple):
    """The mean over seeds at a place, and its interval; both limits are the mean for one seed."""

    x: float
    mean: float
    low: float
    high: float


class Reach(NamedTuple):
    """What it had cost to reach a score for the first time."""

    steps: float
    updates: float
    seconds: float


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % percentile-bootstrap interval of the mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    low, high = _limits(np.array(values)[:, None])
    return float(low[0]), float(high[0])


def interquartile_mean(values: Sequence[float]) -> float:
    """Mean of the middle half: a quarter of the values, rounded down, is left out on either side."""
    cut = len(values) // 4
    middle = sorted(values)[cut : len(values) - cut]
    return math.fsum(middle) / len(middle)


def mean_curve(seeds: Sequence[Points]) -> list[CurvePoint]:
    """Mean and interval over seeds on a common grid, from where all have begun to where the first one ends.

    Between its points a seed's line is straight. Nothing where the seeds have no place in common.
    """
    lines = [dict(points) for points in seeds]
    if not lines or not all(lines):
        return []
    first, last = max(min(line) for line in lines), min(max(line) for line in lines)
    if first > last:
        return []
    grid = np.linspace(first, last, min(GRID, max(map(len, lines))) if first < last else 1)
    values = np.stack([np.interp(grid, sorted(line), [line[x] for x in sorted(line)]) for line in lines])
    mean = values.mean(axis=0)
    low, high = _limits(values) if len(lines) > 1 else (mean, mean)
    return [CurvePoint(*map(float, point)) for point in zip(grid, mean, low, high, strict=True)]


def along(lines: Iterable[Line], tag: str, x_of: Callable[[Line], float | None]) -> Points:
    """(x, value) where `tag` has a value; x is carried on where a line lacks it, its last value counts."""
    points: dict[float, float] = {}
    x: float | None = None
    for line in lines:
        found = x_of(line)
        x = x if found is None else found
        if x is not None and line.get(tag) is not None:
            points[x] = float(line[tag])
    return sorted(points.items())


def first_reach(lines: Iterable[Line], tag: str, threshold: float) -> Reach | None:
    """Steps, updates and seconds at the first line whose `tag` is at least `threshold`."""
    updates = seconds = 0.0
    for line in lines:
        updates = line.get("train/n_updates") or updates
        seconds = line.get("time/time_elapsed") or seconds
        value = line.get(tag)
        if value is not None and value >= threshold:
            return Reach(float(line["step"]), updates, seconds)
    return None


def by_half(values: Sequence[float | None]) -> float | None:
    """The value by which at least half of them had come, None standing for never."""
    came = sorted(value for value in values if value is not None)
    needed = (len(values) + 1) // 2
    return came[needed - 1] if len(came) >= needed else None


def _limits(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Limits [g] of the mean over the rows of [n, g]."""
    count = len(values)
    means = _weights(count) @ values / count
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return low, high


@cache
def _weights(count: int) -> NDArray[np.float64]:
    """How often each of `count` values comes in a resample: [resamples, count]."""
    if count <= EXACT_SEEDS:
        draws = np.array(list(product(range(count), repeat=count)))
    else:
        draws = np.random.default_rng(0).integers(0, count, (BOOTSTRAP_RESAMPLES, count))
    return np.stack([(draws == index).sum(axis=1) for index in range(count)], axis=1).astype(np.float64)
