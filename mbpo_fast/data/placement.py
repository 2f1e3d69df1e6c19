"""Where a run's frames lie: in main memory, or on the GPU where its networks are."""

from dataclasses import dataclass
from typing import Literal

from mbpo_fast.errors import UsageError
from mbpo_fast.ops.gpu_device import CudaDevice, Device

MOST_OF_FREE = 0.5
"""Share of a GPU's free memory that `auto` fills with frames: networks and their gradients come later."""


@dataclass(frozen=True)
class Placement:
    """The device of the frames, None for main memory, and a line about it for people."""

    device: Device | None
    description: str


def place_frames(
    wanted: Literal["auto", "cpu", "cuda"], *, networks: str, index: int | None, nbytes: int
) -> Placement:
    """Where `nbytes` of frames go.

    `networks` is the type of the device that the networks are on, "cpu" or "cuda", and `index` its number.
    UsageError where cuda is asked for and cannot be.
    """
    in_memory = Placement(None, "in main memory")
    if wanted == "cpu" or (wanted == "auto" and networks != "cuda"):
        return in_memory
    if networks != "cuda":
        raise UsageError(f"replay.device: cuda expects networks on a GPU, got device {networks}")
    try:
        device = CudaDevice(index)
    except UsageError as error:
        if wanted == "cuda":
            raise UsageError(f"replay.device: cuda cannot be; use cpu or auto: {error}") from error
        return Placement(None, f"{in_memory.description} ({error})")
    if wanted == "auto" and nbytes > MOST_OF_FREE * device.free_bytes:
        return Placement(
            None,
            f"{in_memory.description} ({nbytes / 1e9:.1f} GB are more than half of what the GPU has free)",
        )
    return Placement(device, f"on the GPU ({device.description})")
