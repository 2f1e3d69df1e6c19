"""Which charts the page of one run shows."""

from mbpo_fast.training.progress import clock
from mbpo_fast.training.reports.bars import bars_html, histogram_svg
from mbpo_fast.training.reports.lines import Chart, Series, chart_svg
from mbpo_fast.training.reports.svg import Points
from mbpo_fast.training.run_record import RunRecord

_PHASES = ("act", "model", "rollout", "update", "evaluate", "video", "checkpoint")


_GRADIENT = ("Gradient", "norm before clipping", "train/grad_norm")
_VALUE_LEARNER = (
    ("Policy loss", "Huber loss of the TD error", "train/loss"),
    ("Value", "mean Q of the batch", "train/q_values"),
    _GRADIENT,
)
_LEARNERS = {
    "ppo": (
        ("Policy loss", "clipped surrogate, negated", "train/policy_gradient_loss"),
        ("Value loss", "half the squared error", "train/value_loss"),
        ("Entropy", "nats, negated", "train/entropy_loss"),
        ("Divergence", "nats from the policy that acted", "train/approx_kl"),
        _GRADIENT,
    )
}


def policy_charts(run: RunRecord) -> list[str]:
    """The learner's losses and values."""
    charts = _LEARNERS.get(run.config.agent.kind, _VALUE_LEARNER)
    return [chart_svg(Chart(title, unit, [Series("latest", run.points(tag))])) for title, unit, tag in charts]


def score_charts(run: RunRecord) -> list[str]:
    """Scores of the training games and of evaluations."""
    stopping = run.config.early_stopping
    series = [
        Series(f"last {stopping.window_size} training games", run.points("rollout/ep_rew_mean")),
        Series("evaluation", run.points("eval/mean_reward"), dots=True),
    ]
    level = ("target", stopping.target_reward) if stopping.enabled else None
    return [chart_svg(Chart("Score", "raw points of a game", series, level=level))]


def final_games(run: RunRecord) -> str:
    """Histogram of the evaluation after training."""
    groups = [(who, run.summary[who]["scores"]) for who in ("agent", "random") if who in run.summary]
    return histogram_svg("Final games", "games by their score", groups)


def speed_charts(run: RunRecord) -> list[str]:
    """How fast the loop is and where its time goes."""
    speed = Chart("Speed", "agent steps a second", [Series("latest", run.points("time/fps"))])
    return [chart_svg(speed), phase_bars(run)]


def model_charts(run: RunRecord) -> list[str]:
    """The world model on held-out episodes, its losses, and how much of it the policy learns from."""
    charts = [*_error_charts(run), *_model_loss_charts(run)]
    share = [Series("latest", run.points("data/synthetic_share", factor=100.0))]
    if run.config.training.real_ratio < 1:
        charts.append(Chart("Synthetic rows", "% of the rows learned from", share, top=100.0))
    return [chart_svg(chart) for chart in charts]


def phase_bars(run: RunRecord) -> str:
    """Where the time of the training loop went."""
    seconds = {phase: sum(value for _, value in run.points(f"time/phase_{phase}")) for phase in _PHASES}
    total = sum(seconds.values())
    rows = [
        (phase, spent, f"{clock(spent)}, {spent / total:.0%}")
        for phase, spent in sorted(seconds.items(), key=lambda item: -item[1])
        if spent > 0
    ]
    return bars_html("Time by phase", "of the training loop", rows)


def _error_charts(run: RunRecord) -> list[Chart]:
    shaded = _open_intervals(run.points("model/gate_open"))
    return [
        Chart(
            f"Model error, {where}",
            "gray levels, held out",
            [
                Series("model", run.points(f"model/{name}_error")),
                Series("copy of the last frame", run.points(f"model/{name}_error_copy")),
            ],
            shaded=shaded,
            shade_name="gate open",
        )
        for where, name in (("changed pixels", "changed"), ("whole frame", "frame"))
    ]


def _model_loss_charts(run: RunRecord) -> list[Chart]:
    decisions = [
        Series("reward F1", run.points("model/reward_f1")),
        Series("end PR-AUC", run.points("model/end_pr_auc")),
    ]
    frame = [Series("latest", run.points("model/train_frame_loss"))]
    outcome = [Series(name, run.points(f"model/train_{name}_loss")) for name in ("reward", "end")]
    return [
        Chart("Model decisions", "held out, 1 is best", decisions, top=1.0),
        Chart("Model loss, frame", "summed over a frame, training", frame),
        Chart("Model loss, outcome", "cross-entropy", outcome),
    ]


def _open_intervals(gate: Points) -> list[tuple[float, float]]:
    """From every judgement that opened the gate to the next one; neighbours merge."""
    intervals: list[tuple[float, float]] = []
    for (step, is_open), (following, _) in zip(gate, [*gate[1:], *gate[-1:]], strict=True):
        if is_open and intervals and intervals[-1][1] == step:
            intervals[-1] = (intervals[-1][0], following)
        elif is_open:
            intervals.append((step, following))
    return intervals
