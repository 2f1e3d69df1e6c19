"""The page of one run: no script, no network; works while the run goes on."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mbpo_fast import __version__
from mbpo_fast.config import Config, differences, resolved_yaml
from mbpo_fast.errors import UsageError
from mbpo_fast.training.progress import clock
from mbpo_fast.training.reports.arms import Arm, text_of
from mbpo_fast.training.reports.charts import (
    final_games,
    model_charts,
    policy_charts,
    score_charts,
    speed_charts,
)
from mbpo_fast.training.reports.html import (
    DOT,
    PAGE_BYTES,
    cards,
    header,
    note,
    row,
    score_text,
    section,
    table,
    tiles,
    write_page,
)
from mbpo_fast.training.reports.model_card import model_card, synthetic_share
from mbpo_fast.training.reports.thresholds import default_thresholds, threshold_section
from mbpo_fast.training.reports.videos import link, video_figure, videos_of
from mbpo_fast.training.run_record import RunRecord, read_run

_LINKED_VIDEOS = 8


def write_report(run_dir: Path, output: Path | None = None, thresholds: Sequence[float] = ()) -> Path:
    """Write the report of a run, finished or not, to `output` (default: report.html in its folder).

    UsageError when the folder holds no run, a run without metrics, or a file that cannot be read.
    """
    run = read_run(run_dir)
    if not run.lines and not run.summary:
        raise UsageError(f"{run_dir}: expected metrics, found none yet")
    target = output or run_dir / "report.html"
    arm = Arm("", "", 1, [run])
    head = [header(_title(run), _status(run)), _tiles(run)]
    rest = [
        threshold_section([arm], thresholds or default_thresholds([arm])),
        section("World model", _card(run, arm), cards(model_charts(run))),
        section("Policy", cards(policy_charts(run))),
        section("Speed", cards(speed_charts(run))),
        _settings(run.config),
        _footer(run),
    ]
    room = PAGE_BYTES - 100_000 - sum(len(part.encode()) for part in (*head, *rest))
    first = cards([*score_charts(run), _video(run.folder, target.parent, room), final_games(run)])
    shown = f"<section>{first}</section>" if first else "<p>No metrics yet.</p>"
    return write_page(target, _title(run), "\n".join([*head, shown, *rest]))


def _title(run: RunRecord) -> str:
    name = run.summary.get("algorithm", run.config.algorithm)
    return f"{name.upper()} on {run.config.env.id}"


def _status(run: RunRecord) -> str:
    return DOT.join([run.folder.resolve().name, f"seed {run.config.seed}", state_of(run)])


def state_of(run: RunRecord) -> str:
    """How a run ended, or how far it is."""
    ends = {"total_steps": "finished all its steps", "early_stopping": "reached its target score"}
    if run.summary:
        return ends.get(run.summary["stopped"], str(run.summary["stopped"]))
    step = run.lines[-1]["step"] if run.lines else 0
    return f"unfinished: {step:,} of {run.config.training.total_steps:,} steps"


def _tiles(run: RunRecord) -> str:
    rows = [*_score_tiles(run), _steps_tile(run), _time_tile(run), _rows_tile(run)]
    protocol = run.summary.get("agent", {}).get("protocol")
    return tiles(rows) + note(f"Scores: {protocol}." if protocol else "")


def _score_tiles(run: RunRecord) -> list[tuple[str, ...]]:
    """The frozen agent and the random one; while the run goes on, the training games."""
    agent, random = run.summary.get("agent"), run.summary.get("random")
    if agent is None:
        score = run.last("rollout/ep_rew_mean")
        window = f"mean of the last {run.config.early_stopping.window_size} training games"
        return [("Score so far", "none yet" if score is None else score_text(score), window)]
    notes = [_interval(agent), f"{agent['episodes']} games, {agent['distinct_games']} distinct"]
    if random and random["mean"] > 0:
        notes.append(f"{agent['mean'] / random['mean']:.1f} times random")
    rows: list[tuple[str, ...]] = [("Agent's mean score", score_text(agent["mean"]), *notes)]
    if random:
        rows.append(
            ("Random actions", score_text(random["mean"]), _interval(random), f"{random['episodes']} games")
        )
    return rows


def _interval(result: Mapping[str, Any]) -> str:
    low, high = result["ci95"]
    return f"95 % interval {score_text(low)} to {score_text(high)}"


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
    opened = run.summary.get("gate_opened_at")
    if run.config.training.real_ratio == 1:
        verdict = "no model"
    elif run.config.model.gate.mode == "off":
        verdict = "gate off"
    elif opened is not None:
        verdict = f"gate opened at step {opened:,}"
    else:
        verdict = f"gate {run.summary['gate_verdict']}" if "gate_verdict" in run.summary else ""
    share = synthetic_share(run) or 0.0
    return "Synthetic rows", f"{share:.0%}", f"{rows[0]:,.0f} of {sum(rows):,.0f} rows", verdict


def _card(run: RunRecord, arm: Arm) -> str:
    judged = any(tag.startswith("model/") for line in run.lines for tag in line)
    return cards([model_card(arm, "Model card")], "wide-cards") if judged and arm.has_model else ""


def _video(folder: Path, page_folder: Path, room: int) -> str:
    """The newest video, and links to the ones before it."""
    files = videos_of(folder)
    if not files:
        return ""
    older = ", ".join(link(file, page_folder) for file in files[1 : 1 + _LINKED_VIDEOS])
    more = f'<p class="soft note">Before: {older}</p>' if older else ""
    return video_figure(files[0], "A game", files[0].stem, page_folder, room, autoplay=True, more=more)


def _settings(config: Config) -> str:
    rows = [row([key, text_of(new), text_of(old)]) for key, old, new in differences(Config(), config)]
    changed = table(["setting", "this run", "default"], rows, "keys") if rows else "<p>None.</p>"
    return section(
        "Settings that differ from the defaults",
        changed,
        f"<details><summary>All settings</summary><pre>{escape(resolved_yaml(config))}</pre></details>",
    )


def _footer(run: RunRecord) -> str:
    machine = run.summary.get("machine", {})
    facts = [f"mbpo_fast {__version__}", *(f"{name} {value}" for name, value in machine.items())]
    return f"<footer>{escape(DOT.join(facts))}</footer>"
