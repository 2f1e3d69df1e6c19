"""Steps, updates and time until a score was reached for the first time."""

import math
from collections.abc import Callable, Sequence

from mbpo_fast.training.progress import clock
from mbpo_fast.training.reports.arms import Arm
from mbpo_fast.training.reports.html import note, row, section, table
from mbpo_fast.training.reports.statistics import Reach, by_half, first_reach
from mbpo_fast.training.reports.svg import ticks
from mbpo_fast.training.run_record import RunRecord

SCORE = "rollout/ep_rew_mean"
_HALF = (
    "Steps, updates and time are each the value by which at least half of an arm's seeds had come there; "
    '">" stands before the steps of a run that never did.'
)


def default_thresholds(arms: Sequence[Arm]) -> list[float]:
    """A few round scores between the start and the best score of any run.

    The start is the mean of random play where it was measured, else the mean of the runs' first scores.
    """
    runs = [run for arm in arms for run in arm.runs]
    scores = [[value for _, value in run.points(SCORE)] for run in runs]
    played = [values for values in scores if values]
    if not played:
        return []
    random = [float(run.summary["random"]["mean"]) for run in runs if "random" in run.summary]
    starts = random or [values[0] for values in played]
    low, high = math.fsum(starts) / len(starts), max(map(max, played))
    if high <= low:
        return []
    return [level for level in ticks(low, high, 4) if low < level <= high]


def threshold_section(arms: Sequence[Arm], thresholds: Sequence[float]) -> str:
    """The table of what each score cost each arm."""
    rows = [
        _row(arm, threshold, first=index == 0) for threshold in thresholds for index, arm in enumerate(arms)
    ]
    if not rows:
        return ""
    score, seeds, cost = ["score"], ["arm", "reached by"], ["agent steps", "updates", "wall time"]
    small = "When the mean of the last training games was first that high, at a line of metrics."
    if sum(len(arm.runs) for arm in arms) == 1:
        shown = [row([cells[0], *cells[3:6]]) for cells, _ in rows]
        return section("Steps to a score", table([*score, *cost], shown), note(small))
    shown = [row(cells, kind) for cells, kind in rows]
    head = [*score, *seeds, *cost, "agent steps of each seed"]
    return section("Steps to a score", table(head, shown), note(f"{small} {_HALF}"))


def _row(arm: Arm, threshold: float, *, first: bool) -> tuple[list[str], str]:
    reached = [first_reach(run.lines, SCORE, threshold) for run in arm.runs]
    count = sum(reach is not None for reach in reached)

    def half(part: Callable[[Reach], float], text: Callable[[float], str]) -> str:
        value = by_half([None if reach is None else part(reach) for reach in reached])
        return "not reached" if value is None else text(value)

    steps = half(lambda reach: reach.steps, _count)
    if steps == "not reached":
        missed = [run for run, reach in zip(arm.runs, reached, strict=True) if reach is None]
        steps = f"> {min(run.lines[-1]['step'] for run in missed if run.lines):,}"
    seeds = [_seed(run, reach) for run, reach in zip(arm.runs, reached, strict=True)]
    cells = [
        f"{threshold:g}" if first else "",
        arm.mark,
        f"{count} of {len(reached)}",
        steps,
        half(lambda reach: reach.updates, _count),
        half(lambda reach: reach.seconds, clock),
        ", ".join(seeds),
    ]
    return cells, "group" if first else ""


def _seed(run: RunRecord, reach: Reach | None) -> str:
    return _count(reach.steps) if reach else f"> {run.lines[-1]['step']:,}"


def _count(value: float) -> str:
    return f"{value:,.0f}"
