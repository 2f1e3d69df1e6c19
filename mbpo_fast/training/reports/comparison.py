"""The page of a comparison: runs grouped into arms, with intervals over seeds."""

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from mbpo_fast import __version__
from mbpo_fast.training.progress import clock
from mbpo_fast.training.reports.arms import Arm, read_arms
from mbpo_fast.training.reports.curves import (
    final_dots,
    hero,
    learner_curves,
    model_curves,
    score_curves,
)
from mbpo_fast.training.reports.html import (
    DOT,
    PAGE_BYTES,
    cards,
    header,
    note,
    score_text,
    section,
    tiles,
    write_page,
)
from mbpo_fast.training.reports.model_card import model_card
from mbpo_fast.training.reports.statistics import METHOD, bootstrap_interval
from mbpo_fast.training.reports.tables import final_section, run_section, settings_section
from mbpo_fast.training.reports.thresholds import default_thresholds, threshold_section
from mbpo_fast.training.reports.videos import embedded_bytes, video_figure, videos_of

FEW_SEEDS = 5
MOST_PLAYING = 6
"""With more videos than this, none starts by itself."""


def write_comparison(
    folders: Sequence[Path],
    output: Path | None = None,
    labels: Sequence[str] = (),
    thresholds: Sequence[float] = (),
) -> Path:
    """Write a page that compares runs of one game to `output` (default: report.html here).

    labels: one for each arm, in the order in which arms first come. thresholds: scores to reach; without
    any, some round ones between random play and the best score. UsageError for what cannot be compared.
    """
    arms = read_arms(folders, labels)
    target = output or Path("report.html")
    before = [
        header(_title(arms), _status(arms)),
        tiles([_tile(arm) for arm in arms], [f"a{arm.paint}" for arm in arms]),
        note(_reading(arms)),
        f'<section class="curves">{hero(arms)}{cards([*score_curves(arms), final_dots(arms)])}</section>',
        threshold_section(arms, thresholds or default_thresholds(arms)),
        final_section(arms),
    ]
    model = [model_card(arm, "Model card") for arm in arms]
    after = [
        section("World model", cards(model, "wide-cards"), cards(model_curves(arms)))
        if _any_model(arms)
        else "",
        section("Learner and speed", cards(learner_curves(arms))),
        settings_section(arms),
        run_section(arms),
        _footer(arms),
    ]
    room = PAGE_BYTES - 100_000 - sum(len(part.encode()) for part in (*before, *after))
    games = section("Games", cards(_videos(arms, target.parent, room)))
    return write_page(target, _title(arms), "\n".join([*before, games, *after]))


def _title(arms: Sequence[Arm]) -> str:
    game = arms[0].config.env.id
    return f"{arms[0].label} on {game}" if len(arms) == 1 else f"{len(arms)} arms on {game}"


def _status(arms: Sequence[Arm]) -> str:
    runs = [run for arm in arms for run in arm.runs]
    unfinished = sum(not run.summary for run in runs)
    seeds = sorted({len(arm.runs) for arm in arms})
    count = " to ".join(str(number) for number in sorted({seeds[0], seeds[-1]}))
    each = " each" if len(arms) > 1 else ""
    state = f"{unfinished} not finished" if unfinished else "all finished"
    return DOT.join([f"{len(runs)} runs", f"{count} seed{'' if count == '1' else 's'}{each}", state])


def _tile(arm: Arm) -> tuple[str, ...]:
    """Score, what it rests on, and what it cost."""
    finals = [run.summary["agent"] for run in arm.runs if "agent" in run.summary]
    means = [float(result["mean"]) for result in finals] or arm.last("rollout/ep_rew_mean")
    notes = []
    interval = bootstrap_interval(means)
    if interval is not None:
        notes.append(
            f"95 % interval {score_text(interval[0])} to {score_text(interval[1])} over {len(means)} seeds"
        )
    elif len(finals) == 1:
        low, high = finals[0]["ci95"]
        notes.append(f"one seed: 95 % interval {score_text(low)} to {score_text(high)} over games")
    if finals:
        some = f" of {len(finals)} of {len(arm.runs)} seeds" if len(finals) < len(arm.runs) else ""
        notes.append(f"{sum(result['episodes'] for result in finals):,} games{some}")
    else:
        notes.append("training games so far")
    steps = [run.lines[-1]["step"] for run in arm.runs]
    seconds = arm.last("time/time_elapsed")
    if seconds:
        cost = f"{_mean(steps):,.0f} steps, {_mean(arm.last('train/n_updates') or [0]):,.0f} updates"
        notes.append(f"{cost}, {clock(_mean(seconds))} a seed")
    return (arm.full_name, score_text(_mean(means)) if means else "none yet", *notes)


def _reading(arms: Sequence[Arm]) -> str:
    parts = [
        "Large numbers: mean score of the final evaluation, over seeds. Thin lines are seeds, thick lines "
        f"their mean from where all have begun to where the first one ends; bands are the {METHOD}."
    ]
    few = min(len(arm.runs) for arm in arms)
    if few == 1:
        parts.append("An arm with one seed has no interval: it may be luck.")
    elif few < FEW_SEEDS:
        parts.append(f"With {few} seeds an interval is a hint and no proof.")
    if len({tuple(run.config.seed for run in arm.runs) for arm in arms}) > 1:
        parts.append("Careful: the arms have different seeds.")
    return " ".join(parts)


def _videos(arms: Sequence[Arm], page_folder: Path, room: int) -> list[str]:
    """The newest video of each run, first seeds first, as long as there is room; then links."""
    chosen = []
    for turn in range(max(len(arm.runs) for arm in arms)):
        for arm in arms:
            if turn < len(arm.runs):
                newest = videos_of(arm.runs[turn].folder)[:1]
                chosen += [(arm, arm.runs[turn].config.seed, file) for file in newest]
    figures = []
    playing = len(chosen) <= MOST_PLAYING
    for arm, seed, file in chosen:
        unit = f"seed {seed}, {file.stem}"
        figures.append(video_figure(file, arm.full_name, unit, page_folder, room, autoplay=playing))
        size = embedded_bytes(file.stat().st_size)
        room -= size if size <= room else 0
    return figures


def _any_model(arms: Sequence[Arm]) -> bool:
    return any(arm.has_model for arm in arms)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _footer(arms: Sequence[Arm]) -> str:
    machines = {
        DOT.join(f"{name} {value}" for name, value in run.summary["machine"].items()): None
        for arm in arms
        for run in arm.runs
        if "machine" in run.summary
    }
    lines = [f"mbpo_fast {__version__}", *machines]
    return f"<footer>{'<br>'.join(map(escape, lines))}</footer>"
