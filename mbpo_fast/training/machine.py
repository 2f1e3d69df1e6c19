"""What this process runs on."""

import os
import platform

import torch


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
