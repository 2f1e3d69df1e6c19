"""A run as one self-contained page: no script, no network; works while the run goes on."""

import base64
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from mbpo_fast import __version__
from mbpo_fast.config import Config, differences, resolved_yaml
from mbpo_fast.training.progress import clock
from mbpo_fast.training.report_charts import (
    final_games,
    model_charts,
    policy_charts,
    score_charts,
    speed_charts,
)
from mbpo_fast.training.run_record import RunRecord, read_run

MAX_EMBEDDED_BYTES = 4_000_000
"""A larger video is linked, not embedded."""
_VIDEO_TYPES = {".mp4": "video/mp4", ".gif": "image/gif"}
DOT = " \u00b7 "


def write_report(run_dir: Path, output: Path | None = None) -> Path:
    """Write the report of a run, finished or not, to `output` (default: report.html in its folder).

    UsageError when the folder holds no run, or a file of it cannot be read.
    """
    run = read_run(run_dir)
    target = output or run_dir / "report.html"
    body = "\n".join(
        [_header(run), _tiles(run), _charts(run, target.parent), _settings(run.config), _footer(run)]
    )
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(_title(run))}</title>"
        f"<style>\n{Path(__file__).with_name('report.css').read_text(encoding='utf-8')}</style></head>"
        f"\n<body>\n{body}\n</body></html>\n"
    )
    aside = target.with_name(f".tmp-{target.name}")
    try:
        aside.write_text(page, encoding="utf-8")
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
    return target


def _title(run: RunRecord) -> str:
    name = run.summary.get("algorithm", "mbpo" if run.config.training.real_ratio < 1 else "ddqn")
    return f"{name.upper()} on {run.config.env.id}"


def _header(run: RunRecord) -> str:
    return f'<header><h1>{escape(_title(run))}</h1><p class="soft">{escape(_status(run))}</p></header>'


def _status(run: RunRecord) -> str:
    config = run.config
    ends = {"total_steps": "finished all its steps", "early_stopping": "reached its target score"}
    if run.summary:
        state = ends.get(run.summary["stopped"], run.summary["stopped"])
    else:
        step = run.lines[-1]["step"] if run.lines else 0
        state = f"unfinished: {step:,} of {config.training.total_steps:,} steps"
    return DOT.join([run.folder.resolve().name, f"seed {config.seed}", state])


def _tiles(run: RunRecord) -> str:
    tiles = [*_score_tiles(run), _steps_tile(run), _time_tile(run), _rows_tile(run)]
    cells = [
        f'<div class="tile"><span>{escape(label)}</span><b>{escape(value)}</b>'
        f"{''.join(f'<small>{escape(note)}</small>' for note in notes)}</div>"
        for label, value, *notes in tiles
    ]
    protocol = run.summary.get("agent", {}).get("protocol")
    note = f'<p class="soft note">Scores: {escape(protocol)}.</p>' if protocol else ""
    return f'<section class="tiles">{"".join(cells)}</section>{note}'


def _score_tiles(run: RunRecord) -> list[tuple[str, ...]]:
    """The frozen agent and the random one; while the run goes on, the training games."""
    agent, random = run.summary.get("agent"), run.summary.get("random")
    if agent is None:
        score = run.last("rollout/ep_rew_mean")
        window = f"mean of the last {run.config.early_stopping.window_size} training games"
        return [("Score so far", "none yet" if score is None else f"{score:,.1f}", window)]
    notes = [_interval(agent), f"{agent['episodes']} games, {agent['distinct_games']} distinct"]
    if random and random["mean"] > 0:
        notes.append(f"{agent['mean'] / random['mean']:.1f} times random")
    tiles: list[tuple[str, ...]] = [("Agent's mean score", f"{agent['mean']:,.1f}", *notes)]
    if random:
        tiles.append(
            ("Random actions", f"{random['mean']:,.1f}", _interval(random), f"{random['episodes']} games")
        )
    return tiles


def _interval(result: Mapping[str, Any]) -> str:
    low, high = result["ci95"]
    return f"95 % interval {low:,.1f} to {high:,.1f}"


def _steps_tile(run: RunRecord) -> tuple[str, ...]:
    steps = run.summary.get("env_steps", run.lines[-1]["step"] if run.lines else 0)
    updates = run.summary.get("gradient_steps", run.last("train/n_updates") or 0)
    frames = run.summary.get("frames", steps * run.config.env.frame_skip)
    return "Agent steps", f"{steps:,}", f"{frames:,} frames", f"{updates:,.0f} policy updates"


def _time_tile(run: RunRecord) -> tuple[str, ...]:
    seconds = run.summary.get("wall_seconds", run.last("time/time_elapsed"))
    if seconds is None:
        return "Wall time", "none yet"
    speeds = sorted(value for _, value in run.points("time/fps"))
    pace = f"median {speeds[len(speeds) // 2]:,.1f} agent steps/s" if speeds else ""
    return "Wall time", clock(seconds), pace


def _rows_tile(run: RunRecord) -> tuple[str, ...]:
    rows = [
        run.summary.get(f"{kind}_rows", run.last(f"data/{kind}_rows") or 0) for kind in ("synthetic", "real")
    ]
    share = rows[0] / sum(rows) if sum(rows) else 0.0
    opened = run.summary.get("gate_opened_at")
    if run.config.training.real_ratio == 1:
        verdict = "no model"
    elif run.config.model.gate.mode == "off":
        verdict = "gate off"
    elif opened is not None:
        verdict = f"gate opened at step {opened:,}"
    else:
        verdict = f"gate {run.summary['gate_verdict']}" if "gate_verdict" in run.summary else ""
    return "Synthetic rows", f"{share:.0%}", f"{rows[0]:,.0f} of {sum(rows):,.0f} rows", verdict


def _charts(run: RunRecord, page_folder: Path) -> str:
    sections = (
        ("", [*score_charts(run), _video(run.folder, page_folder), final_games(run)]),
        ("World model", model_charts(run)),
        ("Policy", policy_charts(run)),
        ("Speed", speed_charts(run)),
    )
    shown = ((heading, "".join(figures)) for heading, figures in sections)
    content = "".join(
        f'<section>{f"<h2>{heading}</h2>" if heading else ""}<div class="charts">{figures}</div></section>'
        for heading, figures in shown
        if figures
    )
    return content or "<p>No metrics yet.</p>"


def _video(folder: Path, page_folder: Path) -> str:
    """The newest video: inside the page when it is small, as a link otherwise."""
    files = [file for file in folder.glob("videos/*") if file.suffix in _VIDEO_TYPES]
    if not files:
        return ""
    file = max(files, key=lambda path: path.stat().st_mtime)
    size = file.stat().st_size
    if size < MAX_EMBEDDED_BYTES:
        data = base64.b64encode(file.read_bytes()).decode()
        source = f"data:{_VIDEO_TYPES[file.suffix]};base64,{data}"
        if file.suffix == ".gif":
            content = f'<img class="game" alt="A game of the agent" src="{source}">'
        else:
            content = f'<video controls autoplay muted loop playsinline src="{source}"></video>'
    else:
        link = escape(os.path.relpath(file, page_folder))
        content = f'<a href="{link}">{link}</a> ({size / 1e6:.1f} MB)'
    return (
        f"<figure><figcaption><b>A game</b> <span>{escape(file.stem)}</span></figcaption>{content}</figure>"
    )


def _settings(config: Config) -> str:
    rows = "".join(
        f"<tr><td>{escape(key)}</td><td>{escape(str(new))}</td><td>{escape(str(old))}</td></tr>"
        for key, old, new in differences(Config(), config)
    )
    head = "<tr><th>setting</th><th>this run</th><th>default</th></tr>"
    table = f'<div class="box"><table>{head}{rows}</table></div>' if rows else "<p>None.</p>"
    return (
        f"<section><h2>Settings that differ from the defaults</h2>{table}<details>"
        f"<summary>All settings</summary><pre>{escape(resolved_yaml(config))}</pre></details></section>"
    )


def _footer(run: RunRecord) -> str:
    machine = run.summary.get("machine", {})
    facts = [f"mbpo_fast {__version__}", *(f"{name} {value}" for name, value in machine.items())]
    return f"<footer>{escape(DOT.join(facts))}</footer>"
