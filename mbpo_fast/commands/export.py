"""`mbpo-fast export`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def export(
    run: Annotated[Path, Parameter(help="A run folder, or one of its checkpoints.")],
    folder: Annotated[Path, Parameter(help="New folder, or a policy folder to replace.")],
    /,
) -> int:
    """Save a trained policy as a folder: card, settings, weights."""
    from mbpo_fast.training.policy import load_policy, save_policy

    print(save_policy(load_policy(run), folder))
    return 0
