"""`mbpo-fast push`."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from mbpo_fast.commands.common import print_rows

SWITCH: dict[str, Any] = {"negative": (), "show_default": False}


def push(
    folder: Annotated[Path, Parameter(help="A folder that `mbpo-fast export` made.")],
    repo: Annotated[str, Parameter(help="USER/NAME on the Hugging Face Hub.")],
    /,
    *,
    private: Annotated[bool, Parameter(help="Make the repository private.", **SWITCH)] = False,
    dry_run: Annotated[bool, Parameter(help="Check the folder, send nothing.", **SWITCH)] = False,
) -> int:
    """Send a policy folder to the Hugging Face Hub."""
    from mbpo_fast.training.hub import FILES, check_repo_name, push_policy
    from mbpo_fast.training.policy import read_description

    if dry_run:
        check_repo_name(repo)
        read_description(folder)
        print_rows((f"{repo}/{name}", f"{(folder / name).stat().st_size:,} bytes") for name in FILES)
    else:
        print(push_policy(folder, repo, private=private))
    return 0
