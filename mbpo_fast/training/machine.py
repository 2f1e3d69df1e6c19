"""What this process runs on, and how it is set up for a run."""

import ctypes
import os
import platform

import torch

from mbpo_fast.config import Config
from mbpo_fast.errors import UsageError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's malloc.h."""
LARGEST_FROM_HEAP = 32 << 20
"""Bytes; the largest that glibc takes as M_MMAP_THRESHOLD."""
KEPT = 1 << 30
"""Bytes of freed memory that stay with the process."""


def set_up_process(config: Config) -> None:
    """Give torch this run's CPU threads, and let this process keep the memory that it frees."""
    torch.set_num_threads(thread_count(config))
    keep_freed_memory()


def thread_count(config: Config) -> int:
    """CPU threads of a run: by default the cores that this process may use."""
    return config.threads or available_cores()


def pick_device(name: str) -> torch.device:
    """`auto` is cuda when there is one; a device that is asked for and absent is an error."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count() or "none"
        raise UsageError(
            f"device: expected a CUDA device for {name!r}, found {found}; use device: cpu or auto"
        )
    return device


def keep_freed_memory() -> None:
    """Let malloc keep the memory of one gradient step for the next one, where it is glibc's.

    Otherwise many steps get their activations as fresh pages, which the kernel fills with zeros: a world
    model's held-out checks take 1.16 s instead of 1.5 s on one core without them.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, LARGEST_FROM_HEAP)
    libc.mallopt(M_TRIM_THRESHOLD, KEPT)


def available_cores() -> int:
    """Cores that this process may use; `os.cpu_count` would count the host's."""
    return len(os.sched_getaffinity(0))


def machine_info() -> dict[str, str | int]:
    """Processor, cores, threads and versions: what a figure needs beside it."""
    return {
        "processor": _processor(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown"
