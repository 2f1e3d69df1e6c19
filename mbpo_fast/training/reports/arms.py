"""Runs grouped into arms: the same settings but for the seed, and for what does not touch learning."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mbpo_fast.config import MACHINE_KEYS, Config, differences
from mbpo_fast.errors import UsageError
from mbpo_fast.training.reports.svg import color
from mbpo_fast.training.run_record import RunRecord, read_run

IGNORED = ("seed", *MACHINE_KEYS, "env.workers", "log", "checkpoint", "video", "track")
"""Keys or groups that make no other arm: where a run was made, and what was written down of it."""
_SHORT = 16
_MOST_KEYS = 2


class Arm(NamedTuple):
    """Runs of one configuration, in the order of their seeds.

    `label` says what differs from the other arms; `mark` is a short name for pictures; `paint` a colour.
    """

    label: str
    mark: str
    paint: int
    runs: Sequence[RunRecord]

    @property
    def config(self) -> Config:
        """The settings of its first run."""
        return self.runs[0].config

    @property
    def has_model(self) -> bool:
        """Whether it may learn from synthetic rows."""
        return self.config.training.real_ratio < 1

    @property
    def full_name(self) -> str:
        """The mark before the label, where they differ."""
        return self.label if self.mark == self.label else f"{self.mark}: {self.label}"

    def last(self, tag: str) -> list[float]:
        """The newest value of a metric in each run that has one."""
        return [value for value in (run.last(tag) for run in self.runs) if value is not None]


def read_arms(folders: Sequence[Path], labels: Sequence[str] = ()) -> list[Arm]:
    """The arms of these runs, in the order in which they first come.

    UsageError for what is no run, has no metrics, plays another game, or is there twice.
    """
    seen: set[Path] = set()
    for folder in folders:
        if folder.resolve() in seen:
            raise UsageError(f"{folder}: expected each run once, got it twice")
        seen.add(folder.resolve())
    runs = [read_run(folder) for folder in folders]
    for run in runs:
        if not run.lines:
            raise UsageError(f"{run.folder}: expected metrics, found none yet")
        if run.config.env.id != runs[0].config.env.id:
            raise UsageError(
                f"{run.folder}: expected the game of the first run, {runs[0].config.env.id}, "
                f"got {run.config.env.id}"
            )
    return _named(_grouped(runs), labels)


def setting_rows(configs: Sequence[Config]) -> list[tuple[str, list[Any]]]:
    """(key, value in each configuration) of every setting that differs among them."""
    keys = dict.fromkeys(key for config in configs[1:] for key, _, _ in differences(configs[0], config))
    return [(key, [_value(config, key) for config in configs]) for key in keys]


def is_ignored(key: str) -> bool:
    """Whether a setting makes no other arm."""
    return any(key == name or key.startswith(f"{name}.") for name in IGNORED)


def text_of(value: Any) -> str:
    """A setting's value as in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _value(config: Config, key: str) -> Any:
    value: Any = config.model_dump()
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _grouped(runs: Sequence[RunRecord]) -> list[list[RunRecord]]:
    groups: list[list[RunRecord]] = []
    for run in runs:
        group = next((g for g in groups if _same_arm(g[0].config, run.config)), None)
        if group is None:
            groups.append([run])
            continue
        twin = next((other for other in group if other.config.seed == run.config.seed), None)
        if twin is not None:
            raise UsageError(
                f"{run.folder}: expected another seed than {twin.folder}, "
                f"got the same settings and seed {run.config.seed}"
            )
        group.append(run)
    return [sorted(group, key=lambda run: run.config.seed) for group in groups]


def _same_arm(one: Config, other: Config) -> bool:
    return all(is_ignored(key) for key, _, _ in differences(one, other))


def _named(groups: Sequence[list[RunRecord]], given: Sequence[str]) -> list[Arm]:
    labels = list(given) or _labels(groups)
    if len(labels) != len(groups):
        found = "; ".join(_labels(groups))
        raise UsageError(f"--label: expected one for each of {len(groups)} arms ({found}), got {len(labels)}")
    if len(set(labels)) < len(labels):
        raise UsageError(f"--label: expected different names, got {', '.join(labels)}")
    short = all(len(label) <= _SHORT for label in labels)
    marks = labels if short else [_letters(index) for index in range(len(labels))]
    return [
        Arm(label, mark, color(index), runs)
        for index, (label, mark, runs) in enumerate(zip(labels, marks, groups, strict=True))
    ]


def _letters(index: int) -> str:
    """A to Z, then A2 to Z2 and so on."""
    turn, place = divmod(index, 26)
    return f"{chr(ord('A') + place)}{turn + 1 if turn else ''}"


def _labels(groups: Sequence[list[RunRecord]]) -> list[str]:
    """What differs, when that is little; else the names of the configurations, when they tell arms apart."""
    if len(groups) == 1:
        return [_algorithm(groups[0][0])]
    rows = [row for row in setting_rows([group[0].config for group in groups]) if not is_ignored(row[0])]
    if len(rows) > _MOST_KEYS:
        names = [str(group[0].summary.get("config", "")) for group in groups]
        if all(names) and len(set(names)) == len(names):
            return names
    last = [key.rpartition(".")[2] for key, _ in rows]
    keys = [name if last.count(name) == 1 else key for name, (key, _) in zip(last, rows, strict=True)]
    parts = [
        [f"{key} {text_of(values[i])}" for key, (_, values) in zip(keys, rows, strict=True)]
        for i in range(len(groups))
    ]
    shortened = [_shortened(part, _MOST_KEYS) for part in parts]
    return shortened if len(set(shortened)) == len(shortened) else [", ".join(part) for part in parts]


def _shortened(parts: Sequence[str], most: int) -> str:
    more = f" and {len(parts) - most} more" if len(parts) > most else ""
    return ", ".join(parts[:most]) + more


def _algorithm(run: RunRecord) -> str:
    return str(run.summary.get("algorithm", run.config.algorithm)).upper()
