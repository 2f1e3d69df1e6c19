"""Reads a sweep file, in Weights & Biases' format, strictly: every mistake is one line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mbpo_fast.config.loader import did_you_mean
from mbpo_fast.config.strict_yaml import read_yaml
from mbpo_fast.errors import UsageError
from mbpo_fast.sweeps.space import Axis, grid_size, read_axes

METHODS = ("grid", "random", "bayes")
DEFAULT_METRIC = "final/agent_mean_reward"
"""The mean score of the final evaluation, as trackers call it."""
_KEYS = (
    *("method", "parameters", "metric", "early_terminate", "run_cap", "command", "program"),
    *("name", "description", "project", "entity", "controller"),
)
_TEXTS = ("name", "description", "project", "entity", "program")
_ELSEWHERE = ("metrics", "scheduler", "job", "image_uri", "apiVersion", "kind")
_MACROS = ("${env}", "${interpreter}", "${program}")
_ARGUMENTS = ("${args}", "${args_no_equals}")


@dataclass(frozen=True)
class Metric:
    """What a trial is judged by."""

    name: str = DEFAULT_METRIC
    maximize: bool = True
    target: float | None = None

    def better(self, value: float, than: float) -> bool:
        """Whether a value beats another one."""
        return value > than if self.maximize else value < than

    def reached(self, value: float) -> bool:
        """Whether a value is as good as the target, if there is one."""
        return self.target is not None and not self.better(self.target, value)


@dataclass(frozen=True)
class EarlyTerminate:
    """Hyperband as W&B means it: the numbers of logged values after which weak trials are stopped."""

    bands: tuple[int, ...]
    eta: float = 3.0
    strict: bool = True


@dataclass(frozen=True)
class Sweep:
    """A sweep file, checked."""

    file: Path
    tree: Mapping[str, Any]
    method: str
    axes: tuple[Axis, ...]
    metric: Metric
    early_terminate: EarlyTerminate | None
    options: tuple[str, ...]
    limit: int | None

    @property
    def name(self) -> str:
        """The file's `name`, or the file's own."""
        return str(self.tree.get("name") or self.file.stem)

    def capped(self, count: int | None) -> "Sweep":
        """The same sweep with at most `count` trials."""
        if count is None:
            return self
        return replace(self, limit=count if self.limit is None else min(count, self.limit))


def read_sweep(path: Path) -> Sweep:
    """A sweep file; UsageError `FILE: key: expected ..., got ...`."""
    tree = read_yaml(path, str(path))
    try:
        return _sweep(path, tree)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _sweep(path: Path, tree: Mapping[str, Any]) -> Sweep:
    _check_keys(tree, _KEYS)
    method = tree.get("method")
    if method not in METHODS:
        raise UsageError(f"method: expected grid, random or bayes, got {method!r}")
    parameters = tree.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise UsageError("parameters: expected at least one")
    for key in _TEXTS:
        if not isinstance(tree.get(key, ""), str):
            raise UsageError(f"{key}: expected text, got {tree[key]!r}")
    axes = tuple(read_axes(parameters))
    _check_axes(axes)
    limit = tree.get("run_cap")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise UsageError(f"run_cap: expected int >= 1, got {limit!r}")
    if method == "grid":
        limit = min(grid_size(axes), limit or grid_size(axes))
    if method == "bayes" and "metric" not in tree:
        raise UsageError("metric: method bayes expects one")
    early = _early_terminate(tree.get("early_terminate"))
    if early and "metric" not in tree:
        raise UsageError("metric: early_terminate expects one")
    return Sweep(path, tree, method, axes, _metric(tree), early, _options(tree.get("command")), limit)


def _check_keys(tree: Mapping[str, Any], known: Sequence[str], group: str = "") -> None:
    for key in tree:
        if key in _ELSEWHERE and not group:
            raise UsageError(f"{key}: not supported here; give it to W&B itself")
        if key not in known:
            raise UsageError(f"{group}{key}: unknown key{did_you_mean(key, known)}")


def _check_axes(axes: Sequence[Axis]) -> None:
    names = [axis.name for axis in axes]
    for axis in axes:
        if names.count(axis.name) > 1:
            raise UsageError(f"parameters.{axis.name}: there twice")
        if axis.name == "config" and not all(isinstance(value, str) for value in axis.values):
            raise UsageError("parameters.config: expected a preset or file each; give a stack in command")


def _metric(tree: Mapping[str, Any]) -> Metric:
    rule = tree.get("metric")
    if rule is None:
        return Metric()
    if not isinstance(rule, dict) or not isinstance(rule.get("name"), str):
        raise UsageError("metric: expected a group with name and goal")
    _check_keys(rule, ("name", "goal", "target", "impute", "impute_while_running"), "metric.")
    goal, target = rule.get("goal", "minimize"), rule.get("target")
    if goal not in ("minimize", "maximize"):
        raise UsageError(f"metric.goal: expected minimize or maximize, got {goal!r}")
    if target is not None and (isinstance(target, bool) or not isinstance(target, int | float)):
        raise UsageError(f"metric.target: expected a number, got {target!r}")
    return Metric(rule["name"], goal == "maximize", target)


def _early_terminate(rule: Any) -> EarlyTerminate | None:
    if rule is None:
        return None
    if not isinstance(rule, dict) or rule.get("type") != "hyperband":
        raise UsageError("early_terminate: expected a group with type: hyperband")
    _check_keys(rule, ("type", "min_iter", "max_iter", "s", "eta", "strict"), "early_terminate.")
    for key in ("min_iter", "max_iter", "s"):
        if key in rule and (type(rule[key]) is not int or rule[key] < 1):
            raise UsageError(f"early_terminate.{key}: expected int >= 1, got {rule[key]!r}")
    eta, strict = rule.get("eta", 3), rule.get("strict", True)
    if isinstance(eta, bool) or not isinstance(eta, int | float) or not eta > 1:
        raise UsageError(f"early_terminate.eta: expected a number > 1, got {eta!r}")
    if not isinstance(strict, bool):
        raise UsageError(f"early_terminate.strict: expected true or false, got {strict!r}")
    if "max_iter" in rule and "s" in rule:
        bands = [int(rule["max_iter"] / eta**i) for i in range(1, rule["s"] + 1)]
    elif "min_iter" in rule:
        bands = [int(rule["min_iter"] * eta**i) for i in range(12)]
    else:
        raise UsageError("early_terminate: expected min_iter, or max_iter and s")
    if not any(bands):
        raise UsageError("early_terminate: expected a max_iter of at least eta")
    return EarlyTerminate(tuple(sorted(band for band in set(bands) if band)), float(eta), strict)


def _options(command: Any) -> tuple[str, ...]:
    """The words of `command` that every trial's `mbpo-fast train` gets, macros left out."""
    if command is None:
        return ()
    words = [str(word) for word in command] if isinstance(command, list) else []
    if "train" not in words or not any(word in _ARGUMENTS for word in words):
        raise UsageError("command: expected a list that runs mbpo-fast train and ends with ${args}")
    options = [word for word in words[words.index("train") + 1 :] if word not in (*_MACROS, *_ARGUMENTS)]
    if any(word.startswith("${") for word in options):
        raise UsageError("command: expected no macros but ${env}, ${interpreter}, ${program} and ${args}")
    if any(word == "--run" or word.startswith("--run=") for word in options):
        raise UsageError("command: expected no --run; every trial has its own folder")
    return tuple(options)
