"""What a sweep has found: rows for people, results.csv for programs."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from mbpo_fast.sweeps.schema import Metric, Sweep
from mbpo_fast.sweeps.space import searched
from mbpo_fast.training.tensor_file import replace_text

FILE_NAME = "results.csv"


class Row(NamedTuple):
    """One trial: its number, state (as in `Study`), value, seconds and settings."""

    number: int
    state: str
    value: float | None
    seconds: float | None
    settings: Mapping[str, Any]


def csv_text(sweep: Sweep, rows: Sequence[Row]) -> str:
    """All trials by number, a column for each parameter, constant ones too."""
    names = [axis.name for axis in sweep.axes]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["trial", "state", sweep.metric.name, "seconds", *names, "run"])
    for row in rows:
        values = [row.settings[name] for name in names]
        run = f"trial-{row.number:04d}"
        writer.writerow([row.number, row.state, row.value, _seconds(row), *values, run])
    return file.getvalue()


def table(sweep: Sweep, rows: Sequence[Row], most: int = 20) -> list[list[str]]:
    """A header and the trials, running ones first, then the best; only parameters that vary."""
    names = _moving(sweep)
    header = ["trial", "state", sweep.metric.name, "seconds", *names]
    ordered = sorted(rows, key=lambda row: (row.state != "running", *_rank(sweep.metric, row.value)))
    return [header, *(_cells(row, names) for row in ordered[:most])]


def over_seeds(sweep: Sweep, rows: Sequence[Row], most: int = 10) -> list[list[str]]:
    """A header and the mean over seeds of every other combination, best first; nothing without seeds."""
    names = [name for name in _moving(sweep) if name != "seed"]
    if "seed" not in _moving(sweep) or not names:
        return []
    text = {name: _texts([row.settings[name] for row in rows]) for name in names}
    groups: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        if row.state == "complete" and row.value is not None:
            key = tuple(text[name][repr(row.settings[name])] for name in names)
            groups.setdefault(key, []).append(row.value)
    ordered = sorted(groups.items(), key=lambda item: _rank(sweep.metric, fmean(item[1])))
    cells = [[f"{fmean(values):.4g}", str(len(values)), *settings] for settings, values in ordered[:most]]
    return [["mean over seeds", "seeds", *names], *cells]


def words(sweep: Sweep, settings: Mapping[str, Any]) -> str:
    """The parameters that vary, in one line."""
    return " ".join(f"{name}={_short(settings[name])}" for name in _moving(sweep))


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines of columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def write_csv(folder: Path, sweep: Sweep, rows: Sequence[Row]) -> Path:
    """Write results.csv, as a whole or not at all."""
    path = folder / FILE_NAME
    replace_text(path, csv_text(sweep, rows))
    return path


def _moving(sweep: Sweep) -> list[str]:
    return [axis.name for axis in searched(sweep.axes) if len(axis.values) != 1]


def _rank(metric: Metric, value: float | None) -> tuple[bool, float]:
    if value is None:
        return True, 0.0
    return False, -value if metric.maximize else value


def _cells(row: Row, names: Sequence[str]) -> list[str]:
    value = "" if row.value is None else f"{row.value:.4g}"
    return [str(row.number), row.state, value, _seconds(row), *(_short(row.settings[name]) for name in names)]


def _seconds(row: Row) -> str:
    return "" if row.seconds is None else f"{row.seconds:.0f}"


def _texts(values: Sequence[Any]) -> dict[str, str]:
    """A text for each value by its `repr`: short, unless two values would look alike."""
    short = {repr(value): _short(value) for value in values}
    return short if len(set(short.values())) == len(short) else {exact: exact for exact in short}


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
