"""The folder of a run, a fit or a sweep: held by one process at a time, and what lies in it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mbpo_fast.errors import UsageError


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Hold an existing folder; the lock goes when the process goes, however it ends.

    Raises UsageError when another process holds it; `what` names its contents ("a run").
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{folder}: expected {what} that nobody works on, got one in use") from None
        yield
    finally:
        os.close(handle)


def visible_files(folder: Path) -> list[Path]:
    """What lies in a folder, but for a file that a process killed in its first moment left half written."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")]
