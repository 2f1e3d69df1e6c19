"""Policy folders on the Hugging Face Hub."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mbpo_fast.errors import UsageError, missing_extra
from mbpo_fast.training.policy import CARD, DESCRIPTION, WEIGHTS, read_description

FILES = (CARD, DESCRIPTION, WEIGHTS)


def push_policy(folder: Path, repo: str, *, private: bool) -> str:
    """Upload a policy folder to a model repository, made if it is not there; returns its address.

    UsageError for a folder that holds no sound policy, without the package, a token or a network.
    """
    check_repo_name(repo)
    read_description(folder)
    if find_spec("huggingface_hub") is None:
        raise missing_extra("huggingface-hub", "hub")
    hub: Any = import_module("huggingface_hub")
    if not hub.get_token():
        raise UsageError(f"push to {repo}: expected a token from `hf auth login` or HF_TOKEN, found none")
    api = hub.HfApi()
    try:
        url = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo,
            folder_path=str(folder),
            allow_patterns=list(FILES),
            commit_message="Policy by mbpo_fast",
        )
    # No network, no such user, no permission: the client's errors have no base in common.
    except Exception as error:
        raise UsageError(f"push to {repo}: {_first_line(error)}") from None
    return str(url)


def check_repo_name(repo: str) -> None:
    """UsageError unless it is USER/NAME of the characters that the hub takes."""
    user, slash, name = repo.partition("/")
    allowed = all(part.replace("-", "").replace("_", "").replace(".", "").isalnum() for part in (user, name))
    if not slash or not allowed or not repo.isascii():
        raise UsageError(f"REPO: expected USER/NAME, got {repo}")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
