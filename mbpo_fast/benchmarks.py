"""`mbpo-fast bench`: runs bench/ of a source checkout and puts our rows beside the peers'."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from mbpo_fast.errors import UsageError, missing_extra

OURS = "mbpo_fast"


class Row(NamedTuple):
    """One implementation of one case: seconds for one item, the median over the rounds."""

    group: str
    case: str
    impl: str
    seconds: float


def run_benchmarks(group: str | None) -> list[tuple[str, ...]]:
    """Run the benchmarks (those that match `group`, pytest's -k); returns table rows, the header first."""
    root = _checkout()
    if find_spec("pytest_benchmark") is None:
        raise missing_extra("pytest-benchmark", "bench")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bench.json"
        # -P: the checkout must not hide the installed package, which has the compiled core.
        command = [sys.executable, "-P", "-m", "pytest", "bench", "-q", "--benchmark-enable"]
        # That nothing was measured is said below; pytest-benchmark's own warning would be an error first.
        command += ["-W", "ignore::pytest_benchmark.logger.PytestBenchmarkWarning"]
        command += [
            "--benchmark-columns=median",
            f"--benchmark-json={file}",
            *(["-k", group] if group else []),
        ]
        # pytest's own words go to stderr: stdout is for the table.
        code = subprocess.run(command, cwd=root, stdout=2, check=False).returncode
        if code == 5:
            raise UsageError(f"-k {group}: no benchmark matches" if group else f"{root}/bench: no benchmarks")
        if code != 0 or not file.exists():
            raise UsageError("the benchmarks failed; pytest's own words are above")
        rows = [_row(entry) for entry in json.loads(file.read_text())["benchmarks"]]
    return [("group", "case", "implementation", "time an item", "ours is"), *_table(rows)]


def _checkout() -> Path:
    """The source tree of this package, or the current folder if it is one."""
    for root in (Path(__file__).parent.parent, Path.cwd()):
        if (root / "bench").is_dir() and (root / "pyproject.toml").is_file():
            return root
    raise UsageError(
        "bench needs a source checkout: run it in the folder that holds bench/ and pyproject.toml"
    )


def _row(entry: dict[str, Any]) -> Row:
    extra = entry["extra_info"]
    per_item = extra.get("seconds_per_item", entry["stats"]["median"] / extra.get("items", 1))
    return Row(entry["group"] or "", extra.get("case", ""), extra.get("impl", entry["name"]), per_item)


def _table(rows: list[Row]) -> Iterator[tuple[str, ...]]:
    """Ours first in each case, peers by speed, with how many times faster ours is."""
    ours = {(row.group, row.case): row.seconds for row in rows if row.impl == OURS}
    for row in sorted(rows, key=lambda row: (row.group, row.case, row.impl != OURS, row.seconds)):
        own = ours.get((row.group, row.case))
        ratio = "" if own is None or row.impl == OURS else f"{row.seconds / own:.2f} x as fast"
        yield row.group, row.case, row.impl, _time(row.seconds), ratio


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
