"""Charts of a comparison: one line an arm, its interval over seeds, and every seed behind it."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mbpo_fast.training.reports.arms import Arm
from mbpo_fast.training.reports.bars import DotRow, dots_svg
from mbpo_fast.training.reports.lines import Chart, Series, chart_svg
from mbpo_fast.training.reports.statistics import along, bootstrap_interval, mean_curve
from mbpo_fast.training.reports.svg import legend_list
from mbpo_fast.training.reports.thresholds import SCORE

WIDE, NARROW = (1200, 380), (400, 270)
MOST_SEED_LINES = 60
"""With more runs than this, pictures show only the arms."""
_UNIT = "raw points of a game, mean of the last training games"
Line = Mapping[str, Any]


class Axis(NamedTuple):
    """What a curve runs over: the axis's name, and its value in a line of metrics."""

    name: str
    value: Callable[[Line], float | None]


STEPS = Axis("agent steps", lambda line: float(line["step"]))
UPDATES = Axis("policy updates", lambda line: line.get("train/n_updates"))


def wall_axis(arms: Sequence[Arm]) -> Axis:
    """Wall time in seconds, minutes or hours, whichever reads best for these runs."""
    longest = max((value for arm in arms for value in arm.last("time/time_elapsed")), default=0.0)
    name, factor = next(
        (name, factor)
        for name, factor, most in (("seconds", 1, 180), ("minutes", 60, 10_800), ("hours", 3600, math.inf))
        if longest <= most
    )

    def value(line: Line) -> float | None:
        seconds = line.get("time/time_elapsed")
        return None if seconds is None else seconds / factor

    return Axis(f"{name} of wall time", value)


def hero(arms: Sequence[Arm]) -> str:
    """The score over agent steps as wide as the page, and in another shape for a phone."""
    chart = _chart(arms, Chart("Score", _UNIT, [], legend=False), SCORE, STEPS)
    legend = arm_legend(arms)
    drawn = [(kind, chart_svg(chart, size)) for kind, size in (("wide", WIDE), ("narrow", NARROW))]
    return "".join(
        f'<div class="{kind}">{svg.replace("</figcaption>", f"{legend}</figcaption>", 1)}</div>'
        for kind, svg in drawn
        if svg
    )


def arm_legend(arms: Sequence[Arm]) -> str:
    """The arms' colours, names and numbers of seeds."""
    return legend_list([(f"k{arm.paint}", arm.full_name, _seeds(arm)) for arm in arms])


def score_curves(arms: Sequence[Arm]) -> list[str]:
    """The score by updates and by wall time, and by evaluations where there were any."""
    axes = (UPDATES, wall_axis(arms))
    charts = [
        _chart(
            arms,
            Chart(f"Score by {axis.name.partition(' of ')[2] or 'updates'}", "raw points", []),
            SCORE,
            axis,
        )
        for axis in axes
    ]
    charts.append(
        _chart(arms, Chart("Evaluations while training", "raw points", []), "eval/mean_reward", STEPS)
    )
    return [chart_svg(chart) for chart in charts]


def final_dots(arms: Sequence[Arm]) -> str:
    """The final evaluation: a dot a seed, the mean over seeds, its interval, and random play."""
    rows = []
    for arm in arms:
        dots = [
            (f"seed {run.config.seed}", float(run.summary["agent"]["mean"]))
            for run in arm.runs
            if "agent" in run.summary
        ]
        if dots:
            values = [value for _, value in dots]
            mean = math.fsum(values) / len(values)
            rows.append(DotRow(arm.full_name, dots, mean, bootstrap_interval(values), arm.paint))
    random = random_mean(arms)
    level = None if random is None else ("random actions", random)
    return dots_svg("Final evaluation", "raw points of a game", rows, level)


def random_mean(arms: Sequence[Arm]) -> float | None:
    """Mean score of random actions over the runs that measured it."""
    means = [run.summary["random"]["mean"] for arm in arms for run in arm.runs if "random" in run.summary]
    return math.fsum(means) / len(means) if means else None


def model_curves(arms: Sequence[Arm]) -> list[str]:
    """The model's held-out error beside copying, its reward F1, and the share of synthetic rows."""
    with_model = [arm for arm in arms if arm.has_model]
    copy = ("copying the last frame", 1.0)
    charts = (
        (
            Chart("Model error, changed pixels", "copying is 1, held out", [], copy),
            "changed_error_ratio",
        ),
        (Chart("Model error, whole frame", "copying is 1, held out", [], copy), "frame_error_ratio"),
        (Chart("Reward F1", "held out, 1 is best", [], top=1.0), "reward_f1"),
        (Chart("End PR-AUC", "held out, 1 is best", [], top=1.0), "end_pr_auc"),
    )
    drawn = [chart_svg(_chart(with_model, chart, f"model/{tag}", STEPS)) for chart, tag in charts]
    share = Chart("Synthetic rows", "% of the rows learned from", [], top=100.0)
    percent = _chart(with_model, share, "data/synthetic_share", STEPS, factor=100.0)
    return [*drawn, chart_svg(percent)] if with_model else []


def learner_curves(arms: Sequence[Arm]) -> list[str]:
    """The learner's loss and values, and the speed of the loop."""
    charts = (
        (Chart("Policy loss", "Huber loss of the TD error", []), "train/loss"),
        (Chart("Value", "mean Q of the batch", []), "train/q_values"),
        (Chart("Speed", "agent steps a second", []), "time/fps"),
    )
    return [chart_svg(_chart(arms, chart, tag, STEPS)) for chart, tag in charts]


def _chart(arms: Sequence[Arm], chart: Chart, tag: str, axis: Axis, factor: float = 1.0) -> Chart:
    """The chart with the lines of these arms."""
    show_seeds = sum(len(arm.runs) for arm in arms) <= MOST_SEED_LINES
    series: list[Series] = []
    for arm in arms:
        seeds = [(run, [(x, factor * y) for x, y in along(run.lines, tag, axis.value)]) for run in arm.runs]
        having = [points for _, points in seeds if points]
        if show_seeds and len(having) > 1:
            series += [
                Series(f"{arm.mark}, seed {run.config.seed}", points, faint=True, paint=arm.paint)
                for run, points in seeds
                if points
            ]
        series += _mean_line(arm, having)
    return Chart(
        chart.title, chart.unit, series, chart.level, top=chart.top, x_name=axis.name, legend=chart.legend
    )


def _mean_line(arm: Arm, seeds: Sequence[list[tuple[float, float]]]) -> list[Series]:
    curve = mean_curve(seeds)
    points = [(point.x, point.mean) for point in curve]
    band = [(point.x, point.low, point.high) for point in curve] if len(seeds) > 1 else []
    return [Series(arm.mark, points, band=band, end=arm.mark, paint=arm.paint)] if points else []


def _seeds(arm: Arm) -> str:
    return f"{len(arm.runs)} seed{'s' if len(arm.runs) > 1 else ''}"
