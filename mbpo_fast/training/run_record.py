"""What a run folder holds, read back."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mbpo_fast.config import Config, load_config
from mbpo_fast.errors import UsageError
from mbpo_fast.training.logger import read_metrics


class RunRecord(NamedTuple):
    """What a run folder says; `summary` is empty until the run has finished."""

    folder: Path
    config: Config
    lines: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any]

    def points(self, tag: str, factor: float = 1.0) -> list[tuple[float, float]]:
        """(step, value) wherever a metric was logged with a value."""
        return [(line["step"], factor * line[tag]) for line in self.lines if line.get(tag) is not None]

    def last(self, tag: str) -> float | None:
        """The newest value of a metric."""
        points = self.points(tag)
        return points[-1][1] if points else None


def read_run(folder: Path) -> RunRecord:
    """The record of a run, finished or not; UsageError when it is none, or a file cannot be read."""
    settings = folder / "config.yaml"
    if not settings.is_file():
        raise UsageError(f"{folder}: expected a run folder, found no config.yaml")
    summary: Mapping[str, Any] = {}
    file = folder / "summary.json"
    if file.exists():
        try:
            summary = json.loads(file.read_bytes())
        except ValueError:
            raise UsageError(f"{file}: not JSON") from None
    return RunRecord(folder, load_config([str(settings)], {}), read_metrics(folder), summary)
