"""`mbpo-fast report`."""

import math
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mbpo_fast.commands.common import require, require_file
from mbpo_fast.errors import UsageError


def report(
    runs: Annotated[list[Path], Parameter(help="A run folder; several are compared.", negative=())],
    /,
    *,
    output: Annotated[
        Path | None,
        Parameter(name=["--output", "-o"], help="File to write; default RUN/report.html, or report.html."),
    ] = None,
    threshold: Annotated[
        list[float] | None,
        Parameter(help="Score in the table of steps to a score; give it again for more.", negative=()),
    ] = None,
    label: Annotated[
        list[str] | None,
        Parameter(help="An arm's name, in the order of arms; default: what differs.", negative=()),
    ] = None,
) -> int:
    """Write one page about a run, or that compares runs.

    Runs with the same settings but for the seed are one arm. Works while they train.
    """
    from mbpo_fast.training import reports

    require_file("--output", output)
    for value in threshold or ():
        require("--threshold", value, math.isfinite(value), "a score")
    if len(runs) > 1:
        print(reports.write_comparison(runs, output, label or (), sorted(set(threshold or ()))))
    elif label:
        raise UsageError("--label: expected several runs to name the arms of, got one")
    else:
        print(reports.write_report(runs[0], output, sorted(set(threshold or ()))))
    return 0
