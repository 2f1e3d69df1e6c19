"""How many trials fit on this machine at once."""

import os
from pathlib import Path

from mbpo_fast.config import Config
from mbpo_fast.training.build_buffers import branch_length, model_buffer_capacity
from mbpo_fast.training.machine import available_cores

_PROCESS_BYTES = 700_000_000
"""What a training process takes before its buffers, roughly."""
_WORKER_BYTES = 60_000_000
"""An emulator's process, of training or of an evaluation."""
_CGROUPS = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)


def default_jobs(config: Config, trials: int | None) -> int:
    """Trials side by side: one a core (or one a GPU), as many as memory allows, never more than there are."""
    places = len(gpus(config)) or max(1, available_cores() // (config.threads or 1))
    fitting = free_memory() // trial_bytes(config)
    return max(1, min(places, fitting, trials or places))


def trial_bytes(config: Config) -> int:
    """A rough upper estimate of one trial's memory: its buffers, the process around them, its workers."""
    side = config.env.screen_size or (36 if config.env.id == "Catch" else 84)
    frames = config.replay.capacity
    if config.training.real_ratio < 1:
        frames += model_buffer_capacity(config) * (config.env.frame_stack + branch_length(config))
    workers = max(config.env.workers, 2 * (config.threads or 1))
    return _PROCESS_BYTES + frames * (side * side + 64) + workers * _WORKER_BYTES


def free_memory(proc: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that new processes may use: what the machine has left, or the container if that is less."""
    rows = dict(line.split(":", 1) for line in proc.read_text().splitlines() if ":" in line)
    free = int(rows["MemAvailable"].split()[0]) * 1024
    for limit, used in _CGROUPS:
        try:
            left = int((cgroup / limit).read_text()) - int((cgroup / used).read_text())
        except (OSError, ValueError):  # absent, or "max"
            continue
        free = min(free, max(0, left))
    return free


def gpus(config: Config, proc: Path = Path("/proc/driver/nvidia/gpus")) -> list[str]:
    """Names for CUDA_VISIBLE_DEVICES, one a GPU; none when trials do not choose among GPUs."""
    if config.device != "auto":
        return []
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1")]
    return [str(i) for i in range(len(list(proc.iterdir())))] if proc.is_dir() else []
