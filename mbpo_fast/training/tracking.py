"""Weights & Biases beside metrics.jsonl: the same numbers, the videos, the policies; online or offline.

W&B takes its key from WANDB_API_KEY or from `wandb login`. Here it is only looked for, to know whether there
is one; it is never logged, stored or passed on.
"""

import math
import netrc
import os
import secrets
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from mbpo_fast.config import Config
from mbpo_fast.config.schema import TrackConfig
from mbpo_fast.errors import UsageError, missing_extra
from mbpo_fast.training.stop_signals import STOP_CODES
from mbpo_fast.training.tensor_file import replace_text

RUN_ID_FILE = "wandb_run_id.txt"
"""In the run folder, so that a resumed run goes on as the same W&B run."""
STEP = "env_steps"
_KEY_VARIABLES = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")
_MODES = ("online", "offline", "disabled", "shared")
_OLD_MODES = {"dryrun": "offline", "run": "online"}


class Tracker:
    """Tracks nothing: what a run has that keeps to its folder."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Metrics of one logging interval, against agent steps."""

    def video(self, step: int, tag: str, path: Path) -> None:
        """A finished video file."""

    def policy(self, folder: Path, alias: str, step: int) -> None:
        """A policy folder, under the alias `best` or `final`."""

    def close(self, exit_code: int) -> None:
        """End the tracked run; 75 and 130 mean that it will go on."""


class WandbTracker(Tracker):
    """One W&B run for one run folder, also over interruptions."""

    def __init__(self, config: Config, run_dir: Path, mode: str) -> None:
        self.offline = mode == "offline"
        if self.offline:
            # Read when the package loads, which otherwise sends reports of its own use even offline.
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        self._wandb: Any = import_module("wandb")
        self.run_id = _run_id(run_dir)
        track = config.track
        try:
            self._run = self._wandb.init(
                project=track.project,
                entity=track.entity,
                group=track.group,
                name=run_dir.resolve().name,
                id=self.run_id,
                resume="allow",
                dir=str(run_dir),
                mode=mode,
                config=config.model_dump(mode="json"),
                allow_val_change=True,
                settings=self._wandb.Settings(console="off", save_code=False, silent=True),
            )
        except self._wandb.errors.Error as error:
            reason = " ".join(str(error).split())
            raise UsageError(
                f"W&B did not take the run: {reason}; to go on without network: --track.mode offline"
            ) from None
        self._run.define_metric(STEP)
        self._run.define_metric("*", step_metric=STEP)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Metrics of one logging interval, against agent steps; values that are not finite are left out."""
        finite = {tag: value for tag, value in metrics.items() if math.isfinite(value)}
        self._run.log({STEP: step, **finite})

    def video(self, step: int, tag: str, path: Path) -> None:
        """A finished video file, mp4 or GIF."""
        self._run.log({STEP: step, f"videos/{tag}": self._wandb.Video(str(path), format=path.suffix[1:])})

    def policy(self, folder: Path, alias: str, step: int) -> None:
        """A policy folder as a version of this run's model artifact."""
        artifact = self._wandb.Artifact(
            f"policy-{self.run_id}", type="model", metadata={STEP: step, "kind": alias}
        )
        artifact.add_dir(str(folder))
        self._run.log_artifact(artifact, aliases=[alias, f"step-{step}"])

    def close(self, exit_code: int) -> None:
        """End the run, wait for what is still to be written or sent, say where it is."""
        if exit_code in STOP_CODES.values():
            self._run.mark_preempting()
        where, url = Path(self._run.dir).parent, self._run.url
        self._run.finish(exit_code=exit_code)
        if self.offline:
            print(f"W&B run {self.run_id}, offline; to send it: wandb sync {where}")
        else:
            print(f"W&B run {self.run_id}: {url}")


def check_tracking(track: TrackConfig) -> None:
    """Refuse what cannot work, before anything is touched: no package, or online without a key."""
    if track.to is None:
        return
    if find_spec("wandb") is None:
        raise missing_extra("wandb", "wandb")
    if _mode(track) == "online" and not has_key():
        raise UsageError(
            "W&B online: expected a key from `wandb login` or WANDB_API_KEY, found none; "
            "without key and network: --track.mode offline"
        )


def open_tracker(config: Config, run_dir: Path) -> Tracker:
    """The tracker that the settings ask for."""
    return Tracker() if config.track.to is None else WandbTracker(config, run_dir, _mode(config.track))


def has_key() -> bool:
    """Whether W&B will find a key: in the environment, or in the netrc file that `wandb login` writes."""
    if any(os.environ.get(name) for name in _KEY_VARIABLES):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    named = os.environ.get("NETRC")
    for path in [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            if netrc.netrc(path).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def _mode(track: TrackConfig) -> str:
    """`auto` follows WANDB_MODE, then the key."""
    if track.mode != "auto":
        return track.mode
    asked = os.environ.get("WANDB_MODE", "")
    mode = _OLD_MODES.get(asked, asked) or ("online" if has_key() else "offline")
    if mode not in _MODES:
        raise UsageError(f"WANDB_MODE: expected {', '.join(_MODES)}, got {asked}")
    return mode


def _run_id(run_dir: Path) -> str:
    """The id that the run folder has, else W&B's own choice (a sweep's agent makes one), else a new one."""
    path = run_dir / RUN_ID_FILE
    if path.exists():
        return path.read_text(encoding="utf-8").strip()
    run_id = os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)
    replace_text(path, f"{run_id}\n")
    return run_id
