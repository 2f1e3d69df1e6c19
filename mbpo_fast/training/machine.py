"""What this process runs on."""

import ctypes
import os
import platform

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's malloc.h."""
LARGEST_FROM_HEAP = 32 << 20
"""Bytes; the largest that glibc takes as M_MMAP_THRESHOLD."""
KEPT = 1 << 30
"""Bytes of freed memory that stay with the process."""


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
