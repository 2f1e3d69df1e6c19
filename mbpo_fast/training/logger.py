"""A run's metrics: one JSON line a step in metrics.jsonl, and TensorBoard scalars; a fit's curve is alike."""

import json
import math
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from mbpo_fast.errors import UsageError

FILE_NAME = "metrics.jsonl"


class _ScalarWriter(Protocol):
    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...

    def close(self) -> None: ...


class RunLogger:
    """Writes the metrics of one run folder; `offset`, from a checkpoint, cuts back what came after it.

    Without `offset` the metrics begin anew; `name` is that of their file. TensorBoard events are written when
    the extra is installed.
    """

    def __init__(
        self, run_dir: Path, tensorboard: bool, offset: int | None, *, name: str = FILE_NAME
    ) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        self.path = run_dir / name
        last_step = _cut_back(self.path, offset or 0)
        self._file = self.path.open("ab")
        self._tensorboard: _ScalarWriter | None = None
        if tensorboard and find_spec("tensorboard") is not None:
            self._tensorboard = _tensorboard_writer(run_dir, purge_step=last_step + 1)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append {"step": step, tag: value, ...}; a value that is not finite becomes null."""
        values = {tag: value if math.isfinite(value) else None for tag, value in metrics.items()}
        self._file.write(json.dumps({"step": step, **values}).encode() + b"\n")
        self._file.flush()
        if self._tensorboard is not None:
            for tag, value in values.items():
                if value is not None:
                    self._tensorboard.add_scalar(tag, value, step)

    def state_dict(self) -> dict[str, int]:
        """Bytes written so far, which are on the disk when this returns."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return {"offset": self._file.tell()}

    def close(self) -> None:
        """Close the files; may be called twice."""
        self._file.close()
        if self._tensorboard is not None:
            self._tensorboard.close()
            self._tensorboard = None


def read_metrics(run_dir: Path, name: str = FILE_NAME) -> list[dict[str, Any]]:
    """The lines of the file in order; a last line still being written is left out.

    UsageError, with the line's number, where a whole line is not one of `RunLogger.log`.
    """
    path = run_dir / name
    if not path.exists():
        return []
    return [_parsed(line, f"{path}:{i}") for i, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1)]


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    try:
        metrics: dict[str, Any] = json.loads(line)
        int(metrics["step"])
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{where}: not a line of metrics") from None
    return metrics


def _cut_back(path: Path, offset: int) -> int:
    """Keep the first `offset` bytes, to the last whole line of them; returns the last line's step, or -1."""
    path.touch()
    with path.open("r+b") as file:
        kept = file.read(offset)
        kept = kept[: kept.rfind(b"\n") + 1]
        file.truncate(len(kept))
    if not kept:
        return -1
    return int(_parsed(kept.splitlines()[-1], str(path))["step"])


def _tensorboard_writer(run_dir: Path, purge_step: int) -> _ScalarWriter:
    from torch.utils.tensorboard import SummaryWriter

    writer: _ScalarWriter = SummaryWriter(str(run_dir), purge_step=purge_step)
    return writer
