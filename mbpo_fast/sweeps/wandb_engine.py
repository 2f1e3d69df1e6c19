"""The W&B engine: the sweep lives on W&B's server, and its agent starts `mbpo-fast train` here."""

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mbpo_fast.errors import UsageError, missing_extra
from mbpo_fast.sweeps.arguments import check_settings
from mbpo_fast.sweeps.folder import claimed, remembered
from mbpo_fast.sweeps.schema import Sweep
from mbpo_fast.training.tracking import has_key

PROJECT = "mbpo-fast"
_DEFAULT_URL = "https://api.wandb.ai"
_TRACKED = ("--track=", "--track.to=")
_OFFLINE = ("offline", "disabled", "dryrun")
_PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_INSTEAD = "`--engine local` needs neither key nor network"


def run_wandb(sweep: Sweep, folder: Path, count: int | None = None) -> int:
    """Create the sweep, or go on with the one noted in `folder`, and run W&B's agent for it.

    UsageError, one line, without the package, a key or a network.
    """
    try:
        import wandb
    except ImportError:
        raise missing_extra("wandb", "wandb") from None
    require_server()
    check_settings(sweep)
    with claimed(folder, sweep):
        if sweep.early_terminate is not None:
            # A run that W&B stops early saves itself and exits with 75, which its agent takes for a failure.
            os.environ.setdefault("WANDB_AGENT_DISABLE_FLAPPING", "true")
            os.environ.setdefault("WANDB_AGENT_MAX_INITIAL_FAILURES", "1000")
        place = {"project": sweep.tree.get("project", PROJECT), "entity": sweep.tree.get("entity")}
        try:
            sweep_id = remembered(folder, "wandb_sweep", None) or _create(sweep, folder, place)
            wandb.agent(sweep_id, count=count, **place)
        except wandb.errors.Error as error:
            raise UsageError(f"W&B: {error}; {_INSTEAD}") from None
    return 0


def server_config(sweep: Sweep) -> dict[str, Any]:
    """The file as W&B gets it: parameters by dotted names, and a command that finds this installation."""
    config = dict(sweep.tree) | {"parameters": flat_parameters(sweep.tree["parameters"])}
    track = (
        ()
        if any(word.startswith(_TRACKED) for word in (f"{option}=" for option in sweep.options))
        else ("--track", "wandb")
    )
    program = [sys.executable, "-m", "mbpo_fast", "train"]
    config["command"] = ["${env}", *program, *track, *sweep.options, "${args}"]
    return config


def flat_parameters(parameters: Any, prefix: str = "") -> dict[str, Any]:
    """Nested groups as dotted names: W&B's agent would send a whole group as one Python dictionary."""
    flat: dict[str, Any] = {}
    for key, rule in parameters.items():
        if "parameters" in rule:
            flat |= flat_parameters(rule["parameters"], f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = rule
    return flat


def require_server(proxies: Sequence[str] = _PROXIES, seconds: float = 5.0) -> None:
    """UsageError unless W&B may be used, there is a key, and its server answers."""
    mode = os.environ.get("WANDB_MODE", "online")
    if mode in _OFFLINE:
        raise UsageError(f"W&B: sweeps need its server, and WANDB_MODE is {mode}; {_INSTEAD}")
    url = urlsplit(os.environ.get("WANDB_BASE_URL", _DEFAULT_URL))
    host = url.hostname or ""
    if not has_key():
        raise UsageError(f"W&B: no key for {host}: run `wandb login`, or set WANDB_API_KEY; {_INSTEAD}")
    if any(os.environ.get(name) for name in proxies):
        return
    try:
        port = url.port or (80 if url.scheme == "http" else 443)
        socket.create_connection((host, port), timeout=seconds).close()
    except (OSError, ValueError) as error:
        raise UsageError(f"W&B: cannot reach {host} ({error}); {_INSTEAD}") from None


def _create(sweep: Sweep, folder: Path, place: dict[str, Any]) -> str:
    import wandb

    return str(remembered(folder, "wandb_sweep", wandb.sweep(server_config(sweep), **place)))
