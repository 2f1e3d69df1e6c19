"""The world model of an arm in a few lines: how good it is, whether it may speak, and how much it spoke."""

import math
from collections.abc import Sequence
from html import escape

from mbpo_fast.training.reports.arms import Arm
from mbpo_fast.training.reports.svg import caption, legend_list
from mbpo_fast.training.run_record import RunRecord


def model_card(arm: Arm, title: str) -> str:
    """A card with the newest judgement on held-out episodes; means over seeds, with the range."""
    rows = _rows(arm) if arm.has_model else [("model", "none: learns from real rows only")]
    lines = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in rows)
    key = legend_list([(f"k{arm.paint}", arm.full_name, "")] if arm.label else [])
    head = caption(title, "held out, latest" if arm.has_model else "", key)
    return f'<figure>{head}<dl class="card">{lines}</dl></figure>'


def synthetic_share(run: RunRecord) -> float | None:
    """Synthetic rows of all rows that the policy has learned from; None before the first one."""
    synthetic, real = (
        run.summary.get(f"{kind}_rows", run.last(f"data/{kind}_rows") or 0) for kind in ("synthetic", "real")
    )
    return float(synthetic / (synthetic + real)) if synthetic + real else None


def _rows(arm: Arm) -> list[tuple[str, str]]:
    model = arm.config.model
    ensemble = (
        f"ensemble of {model.ensemble_size}, best {model.num_elites} used, {model.arch}, sees "
        f"{model.context} frames"
    )
    rows = [("model", ensemble if model.kind == "learned" else "oracle: the emulator itself")]
    for name, tag in (("changed pixels", "changed"), ("whole frame", "frame")):
        ratios = arm.last(f"model/{tag}_error_ratio") or _ratios(arm, tag)
        if ratios:
            levels = arm.last(f"model/{tag}_error")
            rows.append((f"error, {name}", f"{_spread(ratios, 2)} of copying, {_spread(levels, 2)} levels"))
    for name, tag in (("reward F1", "reward_f1"), ("end PR-AUC", "end_pr_auc")):
        values = arm.last(f"model/{tag}")
        if values:
            rows.append((name, _spread(values, 2)))
    shares = [share for share in map(synthetic_share, arm.runs) if share is not None]
    rows.append(("gate", _gate(arm)))
    rows.append(
        ("synthetic rows", f"{_spread([100 * share for share in shares], 0)} %" if shares else "none yet")
    )
    return rows


def _ratios(arm: Arm, tag: str) -> list[float]:
    pairs = [(run.last(f"model/{tag}_error"), run.last(f"model/{tag}_error_copy")) for run in arm.runs]
    return [error / copy for error, copy in pairs if error is not None and copy]


def _gate(arm: Arm) -> str:
    if arm.config.model.gate.mode == "off":
        return "off: speaks from the first round"
    steps = [opened_at(run) for run in arm.runs]
    came = [step for step in steps if step is not None]
    if not came:
        verdicts = {str(run.summary.get("gate_verdict", "shut so far")) for run in arm.runs}
        return "; ".join(sorted(verdicts))
    open_now = sum(run.last("model/gate_open") == 1 for run in arm.runs)
    where = ", ".join(f"{step:,.0f}" for step in came)
    if len(steps) == 1:
        return f"opened at step {where}; {'open' if open_now else 'shut'} at the end"
    return f"opened in {len(came)} of {len(steps)} at step {where}; open in {open_now} at the end"


def opened_at(run: RunRecord) -> float | None:
    """The step at which the gate first opened, or None."""
    if run.summary.get("gate_opened_at") is not None:
        return float(run.summary["gate_opened_at"])
    return next((step for step, is_open in run.points("model/gate_open") if is_open), None)


def _spread(values: Sequence[float], digits: int) -> str:
    """The mean, with the range in brackets where there is one."""
    mean = f"{math.fsum(values) / len(values):.{digits}f}"
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return mean if low == high else f"{mean} ({low} to {high})"
