"""A run as one self-contained page: no script, no network; works while the run goes on."""

import base64
import json
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from mbpo_fast import __version__
from mbpo_fast.config import Config, differences, load_config, resolved_yaml
from mbpo_fast.errors import UsageError
from mbpo_fast.training.logger import read_metrics
from mbpo_fast.training.progress import clock
from mbpo_fast.training.report_svg import Chart, Points, Series, bars_html, chart_svg

MAX_EMBEDDED_BYTES = 4_000_000
"""A larger video is linked, not embedded."""
_VIDEO_TYPES = {".mp4": "video/mp4", ".gif": "image/gif"}
_PHASES = ("act", "model", "rollout", "update", "evaluate", "checkpoint")


class _Run(NamedTuple):
    """What a run folder says; `summary` is empty until the run has finished."""

    folder: Path
    config: Config
    lines: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any]

    def points(self, tag: str, factor: float = 1.0) -> Points:
        """(step, value) wherever a metric was logged with a value."""
        return [(line["step"], factor * line[tag]) for line in self.lines if line.get(tag) is not None]

    def last(self, tag: str) -> float | None:
        """The newest value of a metric."""
        points = self.points(tag)
        return points[-1][1] if points else None


def write_report(run_dir: Path, output: Path | None = None) -> Path:
    """Write the report of a run, finished or not, to `output` (default: report.html in its folder).

    UsageError when the folder holds no run, or a file of it cannot be read.
    """
    run = _read(run_dir)
    target = output or run_dir / "report.html"
    body = [_header(run), _tiles(run), _charts(run, target.parent), _settings(run.config), _footer(run)]
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(_title(run))}</title>"
        f"<style>\n{Path(__file__).with_name('report.css').read_text(encoding='utf-8')}</style></head>"
        f"\n<body>\n{'\n'.join(body)}\n</body></html>\n"
    )
    aside = target.with_name(f".tmp-{target.name}")
    try:
        aside.write_text(page, encoding="utf-8")
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
    return target


def _read(folder: Path) -> _Run:
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
    return _Run(folder, load_config([str(settings)], {}), read_metrics(folder), summary)


def _title(run: _Run) -> str:
    name = run.summary.get("algorithm", "mbpo" if run.config.training.real_ratio < 1 else "ddqn")
    return f"{name.upper()} on {run.config.env.id}"


def _header(run: _Run) -> str:
    return f'<header><h1>{escape(_title(run))}</h1><p class="soft">{escape(_status(run))}</p></header>'


def _status(run: _Run) -> str:
    config = run.config
    ends = {"total_steps": "finished all its steps", "early_stopping": "reached its target score"}
    if run.summary:
        state = ends.get(run.summary["stopped"], run.summary["stopped"])
    else:
        step = run.lines[-1]["step"] if run.lines else 0
        state = f"unfinished: {step:,} of {config.training.total_steps:,} steps"
    return f"{run.folder.name} \u00b7 seed {config.seed} \u00b7 {state}"


def _tiles(run: _Run) -> str:
    tiles = [*_score_tiles(run), _steps_tile(run), _time_tile(run), _rows_tile(run)]
    cells = [
        f'<div class="tile{" first" if index == 0 else ""}"><span>{escape(label)}</span><b>{escape(value)}</b>'
        f"{''.join(f'<small>{escape(note)}</small>' for note in notes)}</div>"
        for index, (label, value, *notes) in enumerate(tiles)
    ]
    protocol = run.summary.get("agent", {}).get("protocol")
    note = f'<p class="soft">Scores: {escape(protocol)}.</p>' if protocol else ""
    return f'<section class="tiles">{"".join(cells)}</section>{note}'


def _score_tiles(run: _Run) -> list[tuple[str, ...]]:
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


def _steps_tile(run: _Run) -> tuple[str, ...]:
    steps = run.summary.get("env_steps", run.lines[-1]["step"] if run.lines else 0)
    updates = run.summary.get("gradient_steps", run.last("train/n_updates") or 0)
    frames = steps * run.config.env.frame_skip
    return "Agent steps", f"{steps:,}", f"{frames:,} frames", f"{updates:,.0f} policy updates"


def _time_tile(run: _Run) -> tuple[str, ...]:
    seconds = run.summary.get("wall_seconds", run.last("time/time_elapsed"))
    if seconds is None:
        return "Wall time", "none yet"
    speeds = sorted(value for _, value in run.points("time/fps"))
    pace = f"median {speeds[len(speeds) // 2]:,.1f} agent steps/s" if speeds else ""
    return "Wall time", clock(seconds), pace


def _rows_tile(run: _Run) -> tuple[str, ...]:
    rows = [
        run.summary.get(f"{kind}_rows", run.last(f"data/{kind}_rows") or 0) for kind in ("synthetic", "real")
    ]
    share = rows[0] / sum(rows) if sum(rows) else 0.0
    opened = run.summary.get("gate_opened_at")
    if run.config.training.real_ratio == 1:
        verdict = "no model"
    elif opened is not None:
        verdict = f"gate opened at step {opened:,}"
    else:
        verdict = f"gate {run.summary['gate_verdict']}" if "gate_verdict" in run.summary else ""
    return "Synthetic rows", f"{share:.0%}", f"{rows[0]:,.0f} of {sum(rows):,.0f} rows", verdict


def _charts(run: _Run, page_folder: Path) -> str:
    figures = [chart_svg(chart) for chart in (_score_chart(run), *_learner_charts(run))]
    figures.insert(1, _video(run.folder, page_folder))
    figures += [chart_svg(chart) for chart in _model_charts(run)]
    figures += [chart_svg(chart) for chart in _data_charts(run)]
    figures.append(_phase_bars(run))
    content = "".join(figures)
    return f'<section class="charts">{content}</section>' if content else "<p>No metrics yet.</p>"


def _score_chart(run: _Run) -> Chart:
    stopping = run.config.early_stopping
    series = [
        Series(f"last {stopping.window_size} training games", run.points("rollout/ep_rew_mean")),
        Series("evaluation", run.points("eval/mean_reward"), dots=True),
    ]
    level = ("target", stopping.target_reward) if stopping.enabled else None
    return Chart("Score", "raw points of a whole game", series, level=level)


def _learner_charts(run: _Run) -> list[Chart]:
    return [
        Chart("Policy loss", "Huber loss of the TD error", [Series("loss", run.points("train/loss"))]),
        Chart("Value", "mean Q of the batch", [Series("Q", run.points("train/q_values"))]),
        Chart("Gradient", "norm before clipping", [Series("norm", run.points("train/grad_norm"))]),
    ]


def _model_charts(run: _Run) -> list[Chart]:
    shade = {"shaded": _open_intervals(run.points("model/gate_open")), "shade_name": "gate open"}
    charts = [
        Chart(
            f"Model error, {where}",
            "gray levels, held-out episodes",
            [
                Series("model", run.points(f"model/{name}_error")),
                Series("copy of the last frame", run.points(f"model/{name}_error_copy")),
            ],
            **shade,  # type: ignore[arg-type]
        )
        for where, name in (("changed pixels", "changed"), ("whole frame", "frame"))
    ]
    decisions = [
        Series("reward F1", run.points("model/reward_f1")),
        Series("end PR-AUC", run.points("model/end_pr_auc")),
    ]
    charts.append(Chart("Model decisions", "held-out episodes, 1 is best", decisions, top=1.0))
    frame = [Series("frame", run.points("model/train_frame_loss"))]
    charts.append(Chart("Model loss, frame", "squared error, weighted", frame))
    outcome = [Series(name, run.points(f"model/train_{name}_loss")) for name in ("reward", "end")]
    charts.append(Chart("Model loss, outcome", "cross-entropy", outcome))
    return charts


def _data_charts(run: _Run) -> list[Chart]:
    share = [Series("synthetic", run.points("data/synthetic_share", factor=100.0))]
    return [
        Chart("Synthetic rows", "% of the rows learned from", share, top=100.0),
        Chart("Speed", "agent steps a second", [Series("speed", run.points("time/fps"))]),
    ]


def _open_intervals(gate: Points) -> list[tuple[float, float]]:
    """From every judgement that opened the gate to the next one; neighbours merge."""
    intervals: list[tuple[float, float]] = []
    for (step, is_open), (following, _) in zip(
        gate, [*gate[1:], gate[-1:][0] if gate else (0, 0)], strict=True
    ):
        if not is_open:
            continue
        if intervals and intervals[-1][1] == step:
            intervals[-1] = (intervals[-1][0], following)
        else:
            intervals.append((step, following))
    return intervals


def _phase_bars(run: _Run) -> str:
    seconds = {phase: sum(value for _, value in run.points(f"time/phase_{phase}")) for phase in _PHASES}
    total = sum(seconds.values())
    rows = [
        (phase, spent, f"{clock(spent)}, {spent / total:.0%}")
        for phase, spent in sorted(seconds.items(), key=lambda item: -item[1])
        if spent > 0
    ]
    return bars_html("Time by phase", "of the training loop", rows)


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
    table = (
        f'<div class="box"><table><tr><th>setting</th><th>this run</th><th>default</th></tr>{rows}</table></div>'
        if rows
        else '<p class="soft">All settings have their defaults.</p>'
    )
    return (
        f"<section><h2>Settings that differ from the defaults</h2>{table}"
        f"<details><summary>All settings</summary><pre>{escape(resolved_yaml(config))}</pre></details></section>"
    )


def _footer(run: _Run) -> str:
    machine = run.summary.get("machine", {})
    facts = [f"mbpo_fast {__version__}", *(f"{name} {value}" for name, value in machine.items())]
    return f"<footer>{escape(' \u00b7 '.join(facts))}</footer>"
