"""`mbpo-fast sweep`: many runs from one file."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from mbpo_fast.commands.common import require, slug


def sweep(
    file: Annotated[Path, Parameter(help="A sweep file in W&B's format, such as configs/sweep.yaml.")],
    /,
    *,
    engine: Annotated[
        Literal["local", "wandb"], Parameter(help="Who picks the trials: this machine or W&B.")
    ] = "local",
    folder: Annotated[Path | None, Parameter(help="Where it goes; default: runs/sweep-NAME.")] = None,
    jobs: Annotated[
        int | None, Parameter(help="Trials at once, local; default: by cores, GPUs and memory.")
    ] = None,
    count: Annotated[int | None, Parameter(help="At most this many trials.")] = None,
) -> int:
    """Train many runs over a space of settings. The same command goes on where it stopped."""
    require("--jobs", jobs, jobs is None or jobs >= 1, "at least 1")
    require("--count", count, count is None or count >= 1, "at least 1")
    from mbpo_fast.sweeps.schema import read_sweep

    read = read_sweep(file)
    place = folder or Path("runs") / f"sweep-{slug(read.name)}"
    if engine == "wandb":
        from mbpo_fast.sweeps.wandb_engine import run_wandb

        return run_wandb(read, place, count)
    from mbpo_fast.sweeps.local import run_local

    return run_local(read.capped(count), place, jobs)
