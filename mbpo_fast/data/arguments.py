"""What callers hand to the buffers, checked and converted."""

import os
from typing import Any

import numpy as np
import numpy.typing as npt

_SPLITS = {"all": -1, "train": 0, "holdout": 1}


def split_code(split: str) -> int:
    """The core's number for a split's name; ValueError for another name."""
    if split not in _SPLITS:
        raise ValueError(f"[ReplayBuffer] expected split 'all', 'train' or 'holdout', got {split!r}")
    return _SPLITS[split]


def column(name: str, value: npt.ArrayLike, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """A contiguous array of `dtype`, converted only within its kind: no float becomes an integer unseen."""
    array = np.asarray(value)
    if array.dtype != dtype:
        same_kind = np.can_cast(array.dtype, dtype, "same_kind") and dtype.kind in "if"
        if not same_kind:
            raise ValueError(f"[ReplayBuffer.add] expected {name} as {dtype}, got {array.dtype}")
    return np.ascontiguousarray(array, dtype)


MOST_COPY_THREADS = 4
"""More do not copy a batch faster: the memory is busy."""


def copy_threads(num_threads: int | None) -> int:
    """Threads that copy a batch; None: as many as there are cores for this process, within reason."""
    if num_threads is not None:
        return num_threads
    return min(len(os.sched_getaffinity(0)), MOST_COPY_THREADS)
