"""What the model adds: table and curves of docs/results.md, from the files under `results/ablation`."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from standalone_svg import standalone_svg

from mbpo_fast.training.reports.lines import Chart, Series
from mbpo_fast.training.reports.statistics import bootstrap_interval, mean_curve

ARMS = {
    "control": "no model",
    "paper": "paper's mixing",
    "tuned": "quick start",
    "default": "default world model",
    "oracle": "perfect model",
    "oracle10": "perfect model, 10 steps",
}
"""Folders under `results/ablation`, a file for each seed, and what the pages call them."""
LEAST_SEEDS = 3
"""Fewer have no interval: a bootstrap of two values is narrower than the two themselves."""
HEADER = "| arm | seed | synthetic rows | while training, at 8,000, 16,000 and 24,000 | frozen policy |"


def rows(results: Path) -> list[str]:
    """A row of a table for each run, and under each arm its mean over the seeds."""
    table = []
    for folder, name in ARMS.items():
        runs = _runs(results, folder)
        table += [_row(name, run) for run in runs]
        if len(runs) > 1:
            means = [run["evaluation"]["mean"] for run in runs]
            interval = bootstrap_interval(means) if len(means) >= LEAST_SEEDS else None
            spread = f" ({interval[0]:.0f} to {interval[1]:.0f})" if interval else ""
            curves = _texts([_mean_of(scores) for scores in zip(*map(_at, runs), strict=True)])
            table.append(
                f"| **{name}** | mean of {len(runs)} | | {curves} | **{fmean(means):.1f}**{spread} |"
            )
    return table


def _runs(results: Path, folder: str) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text(encoding="utf-8")) for path in (results / folder).glob("seed*.json")]
    return sorted(found, key=lambda run: int(run["seed"]))


def _row(name: str, run: dict[str, Any]) -> str:
    synthetic = run.get("synthetic_rows", 0)
    share = synthetic / (synthetic + run.get("real_rows", 1))
    evaluation = run["evaluation"]
    low, high = evaluation["ci95"]
    scores = _texts(_at(run))
    frozen = f"{evaluation['mean']:.1f} ({low:.1f} to {high:.1f})"
    return f"| {name} | {run['seed']} | {100 * share:.0f} % | {scores} | {frozen} |"


def _at(run: dict[str, Any]) -> list[float | None]:
    """The mean of the last 100 training games after 8,000, 16,000 and 24,000 steps; None: never reached."""
    return [
        next((score for step, score in _points(run) if step >= at), None) for at in (8_000, 16_000, 24_000)
    ]


def _mean_of(scores: Sequence[float | None]) -> float | None:
    reached = [score for score in scores if score is not None]
    return fmean(reached) if len(reached) == len(scores) else None


def _texts(scores: Sequence[float | None]) -> str:
    return ", ".join("-" if score is None else f"{score:.0f}" for score in scores)


def _points(run: dict[str, Any]) -> list[tuple[float, float]]:
    return list(zip(run["curve"]["step"], run["curve"]["ep_rew_mean"], strict=True))


def curves_svg(results: Path) -> str:
    """Training scores over agent steps: means over the seeds with their intervals, and each seed."""
    series: list[Series] = []
    for paint, (folder, name) in enumerate(ARMS.items(), 1):
        seeds = [_points(run) for run in _runs(results, folder)]
        series += [Series(name, points, faint=True, paint=paint) for points in seeds]
        series += _mean(name, seeds, paint)
    return standalone_svg(Chart("score while training", "mean of the last 100 games", series, legend=False))


def _mean(name: str, seeds: Sequence[list[tuple[float, float]]], paint: int) -> list[Series]:
    curve = mean_curve(seeds)
    band = [(point.x, point.low, point.high) for point in curve] if len(seeds) >= LEAST_SEEDS else []
    points = [(point.x, point.mean) for point in curve]
    return [Series(name, points, band=band, end=name, paint=paint)] if points else []
