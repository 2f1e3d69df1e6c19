"""A folder held by one process at a time."""

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
