"""One trial: a `mbpo-fast train` process in a run folder of its own, and what the folder says about it."""

import fcntl
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from mbpo_fast.errors import UsageError
from mbpo_fast.training.logger import read_metrics
from mbpo_fast.training.stop_signals import STOP_CODES

TRAIN = (sys.executable, "-m", "mbpo_fast", "train")
_FINAL = re.compile(r"^final/(\w+)_mean_reward$")
SAVED = (*STOP_CODES.values(), *(-number for number in STOP_CODES))
"""Exit codes of a run that was told to stop and can go on: it saved itself, or had not begun."""


class Trial:
    """Trial `number` of a sweep's folder: run folder `trial-NNNN`, output in `logs/trial-NNNN.txt`."""

    def __init__(self, folder: Path, number: int, settings: Mapping[str, Any]) -> None:
        self.number = number
        self.settings = settings
        self.run_dir = folder / f"trial-{number:04d}"
        self.log = folder / "logs" / f"trial-{number:04d}.txt"
        self.device = ""
        self.pruning = False
        self.adopted = False
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> bool:
        """Start the process, which goes on by itself where an earlier one stopped; False if one still runs.

        The log is locked while a process writes to it, however the sweep that started it has ended.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.adopted = not _try_lock(log)
            if self.adopted:
                return False
            log.write(f"$ {shlex.join(command)}\n".encode())
            log.flush()
            # In a group of its own: Ctrl-C is passed on once, and not sent twice.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
                process_group=0,
            )
        return True

    def poll(self) -> int | None:
        """The exit code, or None while it runs; 75 when a process that is not ours has left."""
        if self._process is not None:
            return self._process.poll()
        with self.log.open("ab") as log:
            return 75 if _try_lock(log) else None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it is ours and runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def finished(self) -> bool:
        """Whether the run has come to its end, whoever watched it."""
        return bool(self.summary())

    def summary(self) -> dict[str, Any]:
        """summary.json, or nothing while there is none."""
        try:
            content = json.loads((self.run_dir / "summary.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def history(self, metric: str) -> list[float]:
        """Every logged value of a metric, in order."""
        try:
            lines = read_metrics(self.run_dir)
        except (UsageError, OSError):
            return []
        return [float(line[metric]) for line in lines if _is_number(line.get(metric))]

    def value(self, metric: str) -> float | None:
        """The last logged value of a metric, else the number at that path of summary.json (agent/mean).

        `final/agent_mean_reward` is what trackers call agent/mean.
        """
        history = self.history(metric)
        if history:
            return history[-1]
        node: Any = self.summary()
        for part in _FINAL.sub(r"\1/mean", metric).replace(".", "/").split("/"):
            node = node.get(part) if isinstance(node, dict) else None
        return float(node) if _is_number(node) else None

    def last_line(self) -> str:
        """The last line of the log, which says why a process failed."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return "no log"
        return next((line.strip() for line in reversed(lines) if line.strip()), "nothing in the log")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _try_lock(file: IO[bytes]) -> bool:
    """Lock an open file for whoever inherits it; False when another process holds the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
