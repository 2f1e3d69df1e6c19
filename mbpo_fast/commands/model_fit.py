"""`mbpo-fast model-fit`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mbpo_fast.commands.common import require


def model_fit(
    policy: Annotated[Path, Parameter(help="A run folder, one of its checkpoints, or an exported policy.")],
    /,
    *,
    run: Annotated[Path, Parameter(help="Folder of the model and of the policy; a fit in it goes on.")],
    steps: Annotated[int, Parameter(help="Agent steps to learn from, at most.")] = 50_000,
    updates: Annotated[int, Parameter(help="Gradient steps of every member.")] = 4_000,
    check_every: Annotated[int, Parameter(help="Gradient steps between held-out checks.")] = 500,
    epsilon: Annotated[float, Parameter(help="Exploration of the policy that plays.")] = 0.05,
    seed: Annotated[int, Parameter(help="Root of all random numbers.")] = 0,
    overrides: Annotated[list[str] | None, Parameter(name="--set", show=False, negative=())] = None,
) -> int:
    """Fit a world model to fresh games: half by a trained policy, half by chance.

    The same command goes on where it stopped, and with more --updates further.
    The settings of the model are options too, such as --model.arch nature
    """
    for name, count in (("--steps", steps), ("--updates", updates), ("--check-every", check_every)):
        require(name, count, count >= 1, "at least 1")
    require("--epsilon", epsilon, 0 <= epsilon <= 1, "0 to 1")
    require("--seed", seed, 0 <= seed < 2**31, "0 to 2147483647")
    from mbpo_fast.training.fit_settings import FitOptions
    from mbpo_fast.training.model_fit import fit_model

    options = FitOptions(steps=steps, updates=updates, check_every=check_every, epsilon=epsilon)
    values = dict(item.partition("=")[::2] for item in overrides or ())
    print(f"playing {steps:,} steps, then {updates:,} updates of every member", flush=True)
    print(fit_model(policy, run, values | {"seed": str(seed)}, options, _report))
    return 0


def _report(metrics: dict[str, float]) -> None:
    """A line: how far, and the held-out figures, those of errors as shares of a copy's."""
    figures = (
        ("changed pixels", "changed_error_ratio"),
        ("frame", "frame_error_ratio"),
        ("reward F1", "reward_f1"),
        ("end PR-AUC", "end_pr_auc"),
    )
    said = [f"{name} {metrics[key]:.3f}" for name, key in figures if key in metrics]
    head = f"{metrics['updates']:,.0f} updates, {metrics['cpu_seconds'] / 60:.1f} CPU minutes"
    print(", ".join([head, *said]), flush=True)
