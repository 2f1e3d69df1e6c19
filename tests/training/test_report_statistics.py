"""Intervals, curves and thresholds of reports against figures worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbpo_fast.training.evaluation import mean_interval
from mbpo_fast.training.reports.bars import DotRow, dots_svg
from mbpo_fast.training.reports.lines import spread
from mbpo_fast.training.reports.statistics import (
    along,
    bootstrap_interval,
    by_half,
    first_reach,
    interquartile_mean,
    mean_curve,
)


def test_the_interval_of_three_seeds_by_hand() -> None:
    # 27 resamples of 0, 3, 6 have the means 0 (once), 1 (3 times), 2 (6), 3 (7), 4 (6), 5 (3), 6 (once).
    # The 2.5th percentile lies 0.65 of the way from the first (0) to the second (1) of the sorted means.
    assert bootstrap_interval([6.0, 0.0, 3.0]) == pytest.approx((0.65, 5.35))
    # Two seeds: a, the middle twice, b; the percentile lies 0.075 of the way to the middle.
    assert bootstrap_interval([10.0, 20.0]) == pytest.approx((10.375, 19.625))


def test_an_interval_needs_two_values() -> None:
    assert bootstrap_interval([]) is None
    assert bootstrap_interval([4.0]) is None
    assert bootstrap_interval([4.0, 4.0]) == (4.0, 4.0)


def test_many_values_are_drawn_as_for_games() -> None:
    scores = [float(score) for score in range(40)]
    assert bootstrap_interval(scores) == pytest.approx(mean_interval(np.array(scores)))


def test_interquartile_mean_by_hand() -> None:
    assert interquartile_mean([100.0, 2.0, 4.0, 0.0]) == 3.0
    assert interquartile_mean([1.0, 2.0, 6.0]) == 3.0  # nothing to leave out
    assert interquartile_mean([0, 0, 1, 2, 3, 4, 50, 60]) == 2.5


def test_the_curve_covers_what_all_seeds_cover() -> None:
    early = [(0.0, 0.0), (1000.0, 10.0), (2000.0, 20.0)]
    late = [(1000.0, 30.0), (1500.0, 30.0), (3000.0, 60.0)]
    curve = mean_curve([early, late])
    assert [point.x for point in curve] == [1000, 1500, 2000]
    assert [point.mean for point in curve] == pytest.approx([20, 22.5, 30])
    assert (curve[0].low, curve[0].high) == pytest.approx((10.75, 29.25))
    assert mean_curve([early]) == [(x, y, y, y) for x, y in early]
    assert mean_curve([early, []]) == []
    assert mean_curve([early, [(2000.0, 40.0)]])[0][:2] == (2000, 30)
    assert mean_curve([early, [(2001.0, 40.0)]]) == []


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=1, max_size=7))
def test_the_mean_lies_inside_its_interval_and_the_interval_among_the_seeds(rows: list[list[float]]) -> None:
    curve = mean_curve([[(float(x), value) for x, value in enumerate(row)] for row in rows])
    for point, column in zip(curve, zip(*rows, strict=True), strict=True):
        slack = 1e-9 * (1 + max(map(abs, column)))
        assert min(column) - slack <= point.low <= point.high <= max(column) + slack
        assert point.mean == pytest.approx(math.fsum(column) / len(column), abs=slack)


LINES = [
    {"step": 100, "score": None, "train/n_updates": 0.0, "time/time_elapsed": 1.0},
    {"step": 200, "score": 5.0, "train/n_updates": 0.0, "time/time_elapsed": 2.0},
    {"step": 300, "score": 9.0, "train/n_updates": 80.0, "time/time_elapsed": 4.0},
    {"step": 300, "score": 11.0},
    {"step": 400, "score": 7.0, "train/n_updates": 160.0, "time/time_elapsed": 8.0},
]


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(5.0, (200, 0, 2)), (5.1, (300, 80, 4)), (10.0, (300, 80, 4)), (11.5, None)],
)
def test_first_reach(threshold: float, expected: tuple[float, ...] | None) -> None:
    assert first_reach(LINES, "score", threshold) == expected


def test_along_carries_the_axis_on_and_keeps_the_last_value() -> None:
    assert along(LINES, "score", lambda line: line["step"]) == [(200, 5), (300, 11), (400, 7)]
    assert along(LINES, "score", lambda line: line.get("train/n_updates")) == [(0, 5), (80, 11), (160, 7)]
    assert along(LINES, "other", lambda line: line["step"]) == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7.0], 7),
        ([None], None),
        ([9.0, 7.0], 7),
        ([None, 7.0], 7),
        ([None, 9.0, 7.0], 9),
        ([None, None, 7.0], None),
        ([4.0, 3.0, 2.0, 1.0], 2),
    ],
)
def test_by_half(values: list[float | None], expected: float | None) -> None:
    assert by_half(values) == expected


def test_names_beside_lines_do_not_lie_on_one_another() -> None:
    assert spread([50.0, 50.0, 10.0], 13, 0, 100) == [50, 63, 10]
    assert spread([95.0, 99.0], 13, 0, 100) == [87, 100]


def test_a_dot_for_each_seed() -> None:
    rows = [
        DotRow("a", [("seed 0", 1.0), ("seed 1", 3.0)], 2.0, (1.0, 3.0), 1),
        DotRow("b", [("seed 0", 2.0)], 2.0, None, 2),
    ]
    svg = dots_svg("t", "points", rows, ("random actions", 0.5))
    assert svg.count('class="seed ') == 3
    assert svg.count('class="span ') == 1
    assert "a: 2 (1 to 3)" in svg
    assert dots_svg("t", "points", []) == ""
