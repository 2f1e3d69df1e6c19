"""The space of a sweep: an axis for each parameter, points on it, and the settings a point stands for."""

import itertools
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mbpo_fast.errors import UsageError
from mbpo_fast.sweeps.quantiles import quantile_function

Point = dict[str, Any]
"""A coordinate for each axis but the constant ones, as Optuna stores it: a label or a number."""
_QUANTILES = ("normal", "log_normal", "beta")
_KEYS: dict[str, tuple[set[str], set[str]]] = {
    "constant": ({"value"}, set()),
    "categorical": ({"values"}, set()),
    "categorical_w_probabilities": ({"values", "probabilities"}, set()),
    "beta": (set(), {"a", "b"}),
    "normal": (set(), {"mu", "sigma"}),
    "log_normal": (set(), {"mu", "sigma"}),
}
_BOUNDED = (
    "int_uniform",
    "uniform",
    "log_uniform",
    "log_uniform_values",
    "inv_log_uniform",
    "inv_log_uniform_values",
)
_KEYS |= {name: ({"min", "max"}, set()) for name in _BOUNDED}
_QUANTIZED = ("uniform", "log_uniform", "log_uniform_values", "normal", "log_normal", "beta")
_KEYS |= {f"q_{name}": (_KEYS[name][0], _KEYS[name][1] | {"q"}) for name in _QUANTIZED}


@dataclass(frozen=True)
class Axis:
    """One parameter. `kind`: constant and choice have `values`; int, float and unit lie in low..high.

    A `unit` coordinate is a share (0..1) of a distribution, which `quantile` turns into a value.
    """

    name: str
    kind: Literal["constant", "choice", "int", "float", "unit"]
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    quantum: float | None = None
    quantile: Callable[[float], Any] | None = None

    def labels(self) -> list[Any]:
        """Coordinates of a choice: the values, or their JSON where these are lists or seem equal: 1, true."""
        plain = all(isinstance(v, str | int | float | None) for v in self.values)
        return list(self.values) if plain and len(set(self.values)) == len(self.values) else self._json()

    def _json(self) -> list[str]:
        return [json.dumps(value) for value in self.values]

    def setting(self, coordinate: Any = None) -> Any:
        """The setting's value at a coordinate."""
        if self.kind == "constant":
            return self.values[0]
        if self.kind == "choice":
            return self.values[self.labels().index(coordinate)]
        value = self.quantile(coordinate) if self.quantile else coordinate
        return _rounded(value, self.quantum) if self.quantum is not None else value

    def grid(self) -> list[Any]:
        """Every coordinate, for `method: grid`; UsageError for an axis that has no end of them."""
        if self.kind == "choice":
            return self.labels()
        if self.kind == "int":
            return list(range(int(self.low), int(self.high) + 1))
        if self.kind == "float" and self.quantum is not None and not self.log:
            count = math.ceil(round((self.high - self.low) / self.quantum, 9))
            return [self.low + i * self.quantum for i in range(count)]
        raise UsageError(
            f"parameters.{self.name}: method grid expects value, values, int_uniform or q_uniform"
        )

    def ends(self) -> tuple[Any, Any]:
        """The first and the last coordinate."""
        if self.kind == "choice":
            return self.labels()[0], self.labels()[-1]
        if self.kind == "int":
            return int(self.low), int(self.high)
        return self.low, self.high


def settings_at(axes: Sequence[Axis], point: Point) -> dict[str, Any]:
    """{name: value} of every axis, in the file's order."""
    return {axis.name: axis.setting(point.get(axis.name)) for axis in axes}


def searched(axes: Sequence[Axis]) -> list[Axis]:
    """The axes that are not constant."""
    return [axis for axis in axes if axis.kind != "constant"]


def grid_size(axes: Sequence[Axis]) -> int:
    """How many points the grid has."""
    return math.prod(len(axis.grid()) for axis in searched(axes))


def grid_point(axes: Sequence[Axis], index: int) -> Point:
    """A point of the grid; the last axis changes fastest."""
    coordinates = []
    for axis in reversed(searched(axes)):
        index, i = divmod(index, len(axis.grid()))
        coordinates.append((axis.name, axis.grid()[i]))
    return dict(reversed(coordinates))


def corners(axes: Sequence[Axis], limit: int = 64) -> Iterator[Point]:
    """Points at the ends of all axes: first all first ends, then all last ends, then combinations."""
    moving = searched(axes)
    names = [axis.name for axis in moving]
    ends = [axis.ends() for axis in moving]
    yield dict(zip(names, (first for first, _ in ends), strict=True))
    yield dict(zip(names, (last for _, last in ends), strict=True))
    for combination in itertools.islice(itertools.product(*ends), limit):
        yield dict(zip(names, combination, strict=True))


def read_axes(parameters: Mapping[str, Any], prefix: str = "") -> list[Axis]:
    """The axes of `parameters`, nested groups joined by dots; UsageError names the parameter."""
    axes: list[Axis] = []
    for key, rule in parameters.items():
        name = f"{prefix}{key}".replace("-", "_")
        if not isinstance(rule, dict):
            raise UsageError(f"parameters.{name}: expected value, values, or min and max, got {rule!r}")
        if "parameters" in rule:
            inner = rule["parameters"]
            if not isinstance(inner, dict) or len(rule) > 1:
                raise UsageError(f"parameters.{name}: expected a group of parameters and nothing else")
            axes += read_axes(inner, f"{name}.")
        else:
            axes.append(_axis(name, rule))
    return axes


def _axis(name: str, rule: Mapping[str, Any]) -> Axis:
    kind = rule.get("distribution") or _implied(rule)
    if kind not in _KEYS:
        known = ", ".join(sorted(_KEYS))
        raise UsageError(f"parameters.{name}.distribution: expected one of {known}; got {kind!r}")
    needed, optional = _KEYS[kind]
    given = set(rule) - {"distribution"}
    if not needed <= given or given - needed - optional:
        expected = ", ".join(sorted(needed) + [f"{key} (optional)" for key in sorted(optional)])
        got = ", ".join(sorted(given)) or "nothing"
        raise UsageError(f"parameters.{name}: {kind} expects {expected}; got {got}")
    if kind == "constant":
        return Axis(name, "constant", values=(rule["value"],))
    if kind.startswith("categorical"):
        return _choice(name, rule)
    _check_numbers(name, kind, rule)
    return _range(name, kind, rule)


def _implied(rule: Mapping[str, Any]) -> str:
    """The distribution of a parameter that names none."""
    if "value" in rule:
        return "constant"
    if "values" in rule:
        return "categorical_w_probabilities" if "probabilities" in rule else "categorical"
    whole = all(type(rule.get(key)) is int for key in ("min", "max"))
    return "int_uniform" if whole else "uniform"


def _choice(name: str, rule: Mapping[str, Any]) -> Axis:
    values = rule["values"]
    if not isinstance(values, list) or not values:
        raise UsageError(f"parameters.{name}.values: expected a list, got {values!r}")
    axis = Axis(name, "choice", values=tuple(values))
    if len(set(axis.labels())) < len(values):
        raise UsageError(f"parameters.{name}.values: expected different values, got {values!r}")
    if "probabilities" not in rule:
        return axis
    shares = rule["probabilities"]
    fine = isinstance(shares, list) and all(_is_number(p) and p >= 0 for p in shares)
    if not fine or len(shares) != len(values) or abs(sum(shares) - 1) > 1e-6:
        raise UsageError(
            f"parameters.{name}.probabilities: expected one for each value, 1 in all, got {shares!r}"
        )
    steps = list(itertools.accumulate(shares))

    def pick(share: float) -> Any:
        return values[next((i for i, edge in enumerate(steps) if share < edge), len(values) - 1)]

    return Axis(name, "unit", quantile=pick)


def _range(name: str, kind: str, rule: Mapping[str, Any]) -> Axis:
    base = kind.removeprefix("q_")
    quantum = rule.get("q", 1) if kind.startswith("q_") else None
    if base in _QUANTILES:
        return Axis(name, "unit", quantum=quantum, quantile=quantile_function(base, rule))
    low, high = rule["min"], rule["max"]
    if base == "int_uniform":
        return Axis(name, "int", low=low, high=high)
    # W&B's older names take exponents of e; inverted, they are negated as well.
    if base == "log_uniform":
        low, high = math.exp(low), math.exp(high)
    elif base == "inv_log_uniform":
        low, high = math.exp(-high), math.exp(-low)
    return Axis(name, "float", low=float(low), high=float(high), log="log" in base, quantum=quantum)


def _check_numbers(name: str, kind: str, rule: Mapping[str, Any]) -> None:
    for key, value in rule.items():
        if key != "distribution" and not _is_number(value):
            raise UsageError(f"parameters.{name}.{key}: expected a number, got {value!r}")
        if kind == "int_uniform" and key in ("min", "max") and type(value) is not int:
            raise UsageError(f"parameters.{name}.{key}: expected a whole number, got {value!r}")
        if (key in ("q", "a", "b") and value <= 0) or (key == "sigma" and value < 0):
            raise UsageError(f"parameters.{name}.{key}: expected more than 0, got {value!r}")
    if "min" in rule and not rule["min"] < rule["max"]:
        raise UsageError(f"parameters.{name}: expected min < max, got {rule['min']} and {rule['max']}")
    largest = math.log(sys.float_info.max)
    if kind.endswith("log_uniform") and max(abs(rule["min"]), abs(rule["max"])) > largest:
        raise UsageError(
            f"parameters.{name}: {kind} expects exponents of e, at most {largest:.0f}, got {rule['min']} and "
            f"{rule['max']}; for the values themselves: {kind}_values"
        )
    if kind.endswith("log_uniform_values") and rule["min"] <= 0:
        raise UsageError(f"parameters.{name}.min: {kind} expects more than 0, got {rule['min']}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _rounded(value: float, quantum: float) -> float:
    """The nearest multiple of `quantum`; whole when that is whole."""
    steps = round(value / quantum)
    return steps * quantum if isinstance(quantum, int) else float(f"{steps * quantum:.12g}")
