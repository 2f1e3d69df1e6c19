"""Axes: every distribution of W&B's schema, the size and order of a grid, values as they were written."""

import math
from statistics import fmean, stdev
from typing import Any

import pytest

from mbpo_fast.errors import UsageError
from mbpo_fast.sweeps.quantiles import beta_cdf, beta_quantile
from mbpo_fast.sweeps.space import corners, grid_point, grid_size, read_axes, settings_at

SHARES = [(i + 0.5) / 2000 for i in range(2000)]


def axis(**rule: Any) -> Any:
    return read_axes({"x": rule})[0]


def sample(**rule: Any) -> list[Any]:
    """Values at evenly spread shares of the distribution, drawn as Optuna would."""
    one = axis(**rule)
    if one.kind == "unit" or not one.log:
        return [one.setting(one.low + share * (one.high - one.low)) for share in SHARES]
    low, high = math.log(one.low), math.log(one.high)
    return [one.setting(math.exp(low + share * (high - low))) for share in SHARES]


def test_a_grid_has_every_combination_once_and_the_last_axis_is_fastest() -> None:
    axes = read_axes(
        {
            "a": {"values": ["x", "y"]},
            "b": {"value": 7},
            "c": {"min": 1, "max": 3},
            "d": {"distribution": "q_uniform", "min": 0.0, "max": 0.3, "q": 0.1},
        }
    )
    assert grid_size(axes) == 2 * 3 * 3
    points = [settings_at(axes, grid_point(axes, i)) for i in range(18)]
    assert points[0] == {"a": "x", "b": 7, "c": 1, "d": 0.0}
    assert points[1] == {"a": "x", "b": 7, "c": 1, "d": 0.1}
    assert points[17] == {"a": "y", "b": 7, "c": 3, "d": 0.2}
    assert len({tuple(point.values()) for point in points}) == 18


def test_nested_groups_and_dashes_become_dotted_names() -> None:
    axes = read_axes(
        {
            "agent": {
                "parameters": {"learning-rate": {"value": 1}, "deep": {"parameters": {"k": {"value": 2}}}}
            }
        }
    )
    assert settings_at(axes, {}) == {"agent.learning_rate": 1, "agent.deep.k": 2}


def test_values_keep_their_type() -> None:
    values = [1, 1.0, True, "1", None, [64, 64], {"a": 1}]
    one = axis(values=values)
    back = [one.setting(label) for label in one.labels()]
    assert [(type(v), v) for v in back] == [(type(v), v) for v in values]
    assert len(set(one.labels())) == len(values)


@pytest.mark.parametrize(
    ("rule", "low", "high", "middle"),
    [
        ({"min": 0.0, "max": 2.0}, 0.0, 2.0, 1.0),
        ({"min": 1, "max": 2.5}, 1.0, 2.5, 1.75),
        ({"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2}, 1e-4, 1e-2, 1e-3),
        ({"distribution": "log_uniform", "min": -2, "max": 0}, math.exp(-2), 1.0, math.exp(-1)),
        ({"distribution": "inv_log_uniform_values", "min": 1e-4, "max": 1e-2}, 1e-4, 1e-2, 1e-3),
        ({"distribution": "inv_log_uniform", "min": 0, "max": 2}, math.exp(-2), 1.0, math.exp(-1)),
    ],
)
def test_bounded_distributions(rule: dict[str, Any], low: float, high: float, middle: float) -> None:
    values = sorted(sample(**rule))
    assert low <= values[0] < values[-1] <= high
    assert values[1000] == pytest.approx(middle, rel=0.01)
    assert axis(**rule).log == ("log" in rule.get("distribution", ""))


def test_normal_distributions() -> None:
    normal = sample(distribution="normal", mu=3, sigma=2)
    assert (fmean(normal), stdev(normal)) == (pytest.approx(3, abs=0.01), pytest.approx(2, rel=0.01))
    logs = [math.log(value) for value in sample(distribution="log_normal", mu=-1, sigma=0.5)]
    assert (fmean(logs), stdev(logs)) == (pytest.approx(-1, abs=0.01), pytest.approx(0.5, rel=0.01))
    assert math.isfinite(axis(distribution="normal").setting(0.0))
    assert math.isfinite(axis(distribution="normal").setting(1.0))


def test_beta_against_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for a, b in ((1, 1), (2, 5), (0.5, 0.5), (30, 2)):
        for x in (0.01, 0.2, 0.5, 0.9, 0.999):
            assert beta_cdf(x, a, b) == pytest.approx(stats.beta.cdf(x, a, b), abs=1e-9)
            assert beta_quantile(x, a, b) == pytest.approx(stats.beta.ppf(x, a, b), abs=1e-9)
    assert fmean(sample(distribution="beta", a=2, b=6)) == pytest.approx(0.25, abs=1e-3)


def test_exponents_beyond_all_numbers_are_one_line() -> None:
    with pytest.raises(UsageError, match=r"log_uniform expects exponents of e.* log_uniform_values"):
        axis(distribution="log_uniform", min=1000, max=5000)
    assert axis(distribution="log_uniform_values", min=1000, max=5000).high == 5000


def test_quantized_values_are_multiples() -> None:
    whole = set(sample(distribution="q_uniform", min=0, max=64, q=16))
    assert whole == {0, 16, 32, 48, 64}
    assert {type(value) for value in whole} == {int}
    assert 0.3 in sample(distribution="q_uniform", min=0.0, max=1.0, q=0.1)
    powers = sample(distribution="q_log_uniform_values", min=8, max=512, q=8)
    assert {value % 8 for value in powers} == {0}
    assert (min(powers), max(powers)) == (8, 512)
    for kind in ("q_normal", "q_log_normal", "q_beta"):
        assert {type(value) for value in sample(distribution=kind)} == {int}


def test_probabilities() -> None:
    values = sample(values=["a", "b", "c"], probabilities=[0.5, 0.5, 0])
    assert (values.count("a"), values.count("b"), values.count("c")) == (1000, 1000, 0)
    one = axis(values=["a", "b"], probabilities=[0.5, 0.5])
    assert one.setting(1.0) == "b"


def test_whole_bounds_mean_whole_numbers() -> None:
    assert axis(min=2, max=5).kind == "int"
    assert axis(min=2, max=5).grid() == [2, 3, 4, 5]
    assert axis(min=2, max=5.0).kind == "float"


def test_corners_touch_both_ends_of_every_axis() -> None:
    axes = read_axes({"a": {"values": [1, 2, 3]}, "b": {"min": 0.5, "max": 1.5}})
    points = list(corners(axes))
    assert points[:2] == [{"a": 1, "b": 0.5}, {"a": 3, "b": 1.5}]
    assert {"a": 1, "b": 1.5} in points


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (5, "expected value, values, or min and max, got 5"),
        ({}, "uniform expects max, min; got nothing"),
        ({"min": 0}, "uniform expects max, min; got min"),
        ({"values": []}, "values: expected a list, got []"),
        ({"values": [1, 1]}, "values: expected different values"),
        ({"value": 1, "min": 2}, "constant expects value; got min, value"),
        ({"min": 3, "max": 2}, "expected min < max, got 3 and 2"),
        ({"min": "a", "max": 2}, "min: expected a number, got 'a'"),
        ({"min": float("nan"), "max": 2}, "min: expected a number, got nan"),
        ({"distribution": "int_uniform", "min": 1.5, "max": 2}, "min: expected a whole number, got 1.5"),
        ({"distribution": "gauss"}, "distribution: expected one of beta, categorical,"),
        ({"distribution": "normal", "sigma": -1}, "sigma: expected more than 0, got -1"),
        ({"distribution": "normal", "min": 1}, "normal expects mu (optional), sigma (optional); got min"),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}, "q: expected more than 0, got 0"),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "min: log_uniform_values expects more"),
        ({"values": [1, 2], "probabilities": [0.5, 0.4]}, "probabilities: expected one for each value, 1"),
        ({"values": [1, 2], "probabilities": [1]}, "probabilities: expected one for each value"),
        ({"parameters": {}, "value": 1}, "expected a group of parameters and nothing else"),
    ],
)
def test_mistakes_name_the_parameter(rule: Any, words: str) -> None:
    with pytest.raises(UsageError) as error:
        read_axes({"agent": {"parameters": {"x": rule}}})
    assert str(error.value).startswith("parameters.agent.x")
    assert words in str(error.value)


def test_a_grid_refuses_what_has_no_end() -> None:
    with pytest.raises(UsageError, match="method grid expects"):
        grid_size(read_axes({"x": {"min": 0.0, "max": 1.0}}))
