"""Tables of a comparison: final evaluations, runs, settings."""

import math
import re
from collections.abc import Sequence
from html import escape

from mbpo_fast.config import resolved_yaml
from mbpo_fast.training.progress import clock
from mbpo_fast.training.reports.arms import Arm, is_ignored, setting_rows, text_of
from mbpo_fast.training.reports.html import note, row, score_text, section, table
from mbpo_fast.training.reports.single import state_of
from mbpo_fast.training.reports.statistics import METHOD, bootstrap_interval, interquartile_mean
from mbpo_fast.training.run_record import RunRecord

_NOTHING = "\u2013"


def final_section(arms: Sequence[Arm]) -> str:
    """The final evaluation of every run, under the mean of its arm."""
    if not any(map(_finals, arms)):
        return ""
    rows = [cells for arm in arms for cells in _final_rows(arm)]
    many = any(len(_finals(arm)) >= 4 for arm in arms)
    head = ["arm", "seed", "mean score", "95 % interval", *(["IQM"] if many else []), "games", "distinct"]
    shown = [row(cells if many else cells[:4] + cells[5:], kind) for cells, kind in rows]
    # Random actions do not depend on the agent: with equal environments and seeds they are the same games.
    runs = [run for arm in arms for run in arm.runs if _random(run)]
    same = {(run.config.seed, tuple(run.summary["random"]["scores"])): run for run in runs}
    random = [cells for run in same.values() for cells in _random(run)]
    if random:
        mean = math.fsum(value for value, _ in random) / len(random)
        games = sum(count for _, count in random)
        cells = ["random actions", f"{len(random)} runs", f"{score_text(mean)}", "", "", f"{games:,}", ""]
        shown.append(row(cells if many else cells[:4] + cells[5:], "first"))
    return section("Final evaluation", table(head, shown), note(_protocols(arms)), note(_reading(many)))


def run_section(arms: Sequence[Arm]) -> str:
    """Every run: how it ended, what it cost, where it was made."""
    rows = []
    for arm in arms:
        for index, run in enumerate(arm.runs):
            seconds = run.summary.get("wall_seconds", run.last("time/time_elapsed"))
            updates = run.summary.get("gradient_steps", run.last("train/n_updates") or 0)
            cells = [
                arm.mark if index == 0 else "",
                str(run.config.seed),
                f"{run.summary.get('env_steps', run.lines[-1]['step']):,}",
                f"{updates:,.0f}",
                _NOTHING if seconds is None else clock(seconds),
                state_of(run),
                run.folder.resolve().name,
            ]
            rows.append(row(cells, "group" if index == 0 else ""))
    head = ["arm", "seed", "agent steps", "updates", "wall time", "state", "folder"]
    return section("Runs", table(head, rows))


def settings_section(arms: Sequence[Arm]) -> str:
    """What differs between arms, what differs inside them, and all settings of each."""
    between = [item for item in setting_rows([arm.config for arm in arms]) if not is_ignored(item[0])]
    rows = [row([key, *map(text_of, values)]) for key, values in between]
    content = (
        table(["setting", *(arm.mark for arm in arms)], rows, "keys")
        if rows
        else "<p>None: the runs differ in their seeds only.</p>"
    )
    everything = "".join(
        f"<details><summary>All settings: {escape(arm.full_name)}</summary>"
        f"<pre>{escape(resolved_yaml(arm.config))}</pre></details>"
        for arm in arms
    )
    return section("Settings that differ between arms", content, note(_inside(arms)), everything)


def _inside(arms: Sequence[Arm]) -> str:
    keys = {
        key: None
        for key, _ in setting_rows([run.config for arm in arms for run in arm.runs])
        if is_ignored(key) and key != "seed"
    }
    return f"Not counted as a difference, though the runs differ in it: {', '.join(keys)}." if keys else ""


def _finals(arm: Arm) -> list[RunRecord]:
    return [run for run in arm.runs if "agent" in run.summary]


def _final_rows(arm: Arm) -> list[tuple[list[str], str]]:
    """The arm's row, then one for each seed; arms with one seed have one row."""
    runs = _finals(arm)
    if not runs:
        return [([arm.mark, "", "not finished", "", "", "", ""], "first")]
    seeds = [_seed_row(run) for run in runs]
    if len(runs) == 1:
        return [([arm.mark, *seeds[0][1:]], "first")]
    means = [float(run.summary["agent"]["mean"]) for run in runs]
    interval = bootstrap_interval(means)
    assert interval is not None
    head = [
        arm.mark,
        f"{len(runs)} seeds",
        score_text(math.fsum(means) / len(means)),
        f"{score_text(interval[0])} to {score_text(interval[1])} over seeds",
        score_text(interquartile_mean(means)) if len(means) >= 4 else _NOTHING,
        f"{sum(run.summary['agent']['episodes'] for run in runs):,}",
        f"{sum(run.summary['agent']['distinct_games'] for run in runs):,}",
    ]
    return [(head, "first"), *((cells, "") for cells in seeds)]


def _seed_row(run: RunRecord) -> list[str]:
    agent = run.summary["agent"]
    low, high = agent["ci95"]
    numbers = [score_text(agent["mean"]), f"{score_text(low)} to {score_text(high)} over games", _NOTHING]
    return ["", str(run.config.seed), *numbers, f"{agent['episodes']:,}", f"{agent['distinct_games']:,}"]


def _random(run: RunRecord) -> list[tuple[float, int]]:
    random = run.summary.get("random")
    return [(float(random["mean"]), int(random["episodes"]))] if random else []


def _protocols(arms: Sequence[Arm]) -> str:
    """The protocol without its seed, which differs from run to run on purpose."""
    protocols = {
        re.sub(r", seed \d+", "", str(run.summary["agent"]["protocol"]))
        for arm in arms
        for run in _finals(arm)
    }
    if len(protocols) > 1:
        return f"Careful: the protocols differ: {'; '.join(sorted(protocols))}."
    return f"Protocol: {protocols.pop()}; the seed of the games differs from run to run." if protocols else ""


def _reading(many: bool) -> str:
    middle = " IQM is the mean of the middle half of the seeds." if many else ""
    return f"Over seeds: {METHOD}. Over games: the same by game, within a seed.{middle}"
