"""From a trial's settings to the options of `mbpo-fast train`, and a check of them before anything runs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mbpo_fast.config import MACHINE_KEYS, Config, load_config
from mbpo_fast.config.strict_yaml import parse_scalar
from mbpo_fast.errors import UsageError
from mbpo_fast.sweeps.schema import Sweep
from mbpo_fast.sweeps.space import Point, corners, grid_point, settings_at

DEFAULT_CONFIG = "mbpo"
_OPTIONS = ("config", "seed")
_CHECKED_GRID = 200


def option_words(settings: Mapping[str, Any]) -> list[str]:
    """`--key=value` for each setting, in a form that `train` reads back as the same value."""
    return [f"--{key}={_text(key, value)}" for key, value in settings.items()]


def trial_config(sweep: Sweep, settings: Mapping[str, Any]) -> Config:
    """The configuration that a trial will train with; UsageError names the parameter."""
    sources, overrides = [], {}
    for key, value in _pairs([*sweep.options, *option_words(settings)]):
        if key == "config":
            sources.append(value)
        elif key.replace("-", "_") in ("seed", *MACHINE_KEYS) or "." in key:
            overrides[key.replace("-", "_")] = value
    try:
        return load_config(sources or [DEFAULT_CONFIG], overrides)
    except UsageError as error:
        raise UsageError(f"{sweep.file}: parameters: {str(error).removeprefix('--')}") from None


def check_settings(sweep: Sweep) -> list[Config]:
    """Configurations of the grid, or of the corners of the space; UsageError when one is not valid."""
    for axis in sweep.axes:
        if axis.name not in (*_OPTIONS, *MACHINE_KEYS) and "." not in axis.name:
            raise UsageError(
                f"{sweep.file}: parameters.{axis.name}: expected config, seed or a setting such as "
                "agent.learning_rate; `mbpo-fast config schema` lists them"
            )
    return [trial_config(sweep, settings_at(sweep.axes, point)) for point in _points_to_check(sweep)]


def _points_to_check(sweep: Sweep) -> Iterator[Point]:
    if sweep.method == "grid" and sweep.limit is not None and sweep.limit <= _CHECKED_GRID:
        yield from (grid_point(sweep.axes, i) for i in range(sweep.limit))
    else:
        yield from corners(sweep.axes)


def _text(key: str, value: Any) -> str:
    """Plain text where it reads back as it is, JSON (which is YAML) elsewhere."""
    if isinstance(value, str):
        if key in _OPTIONS:
            return value
        try:
            if parse_scalar(value, key) == value:
                return value
        except UsageError:
            pass
    return json.dumps(value, ensure_ascii=False)


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(key, value) of `--key=value` and `--key value`."""
    rest = iter(words)
    for word in rest:
        key, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--"):
            yield key, value if equals else next(rest, "")
