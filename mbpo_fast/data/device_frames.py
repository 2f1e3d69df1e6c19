"""Frames in a GPU's memory, known by number."""

import numpy as np
import numpy.typing as npt

from mbpo_fast.data.batch import Frames
from mbpo_fast.ops.gpu_device import Device
from mbpo_fast.ops.gpu_frames import gather_frames

Numbers = npt.NDArray[np.uint8]
NUMBER_SHAPE = (1, 8)
"""What a ring on the host stores in place of a frame: the frame's number, as the bytes of an int64."""
_CHUNK = 4096


class DeviceFrames:
    """Frames uint8 [places, h, w] on a device.

    A frame's number is its place + 1, so that the zeros with which a ring pads mean: no frame, zeros. A ring
    of numbers makes stacks, windows and n steps of them as it does of frames, and one gather turns these into
    frames: nothing but numbers crosses to the device.
    """

    def __init__(self, device: Device, memory: Frames) -> None:
        """`memory`: uint8 [places, h, w] on the device."""
        self.device, self.memory = device, memory
        self.frame_shape: tuple[int, int] = tuple(memory.shape[1:])

    @property
    def nbytes(self) -> int:
        """Bytes on the device."""
        return int(np.prod(self.memory.shape))

    def numbers(self, op: str, places: npt.NDArray[np.int64], frames: npt.NDArray[np.uint8]) -> Numbers:
        """Numbers uint8 [..., 1, 8] of frames uint8 [..., h, w] that belong to places int64 [...].

        ValueError for frames of another shape or type.
        """
        wanted = (*places.shape, *self.frame_shape)
        if frames.dtype != np.uint8 or frames.shape != wanted:
            got = f"{frames.dtype} {list(frames.shape)}"
            raise ValueError(f"[{op}] expected frames as uint8 {list(wanted)}, got {got}")
        return numbers_at(places)

    def write(self, places: npt.NDArray[np.int64], frames: npt.NDArray[np.uint8]) -> None:
        """Frames uint8 [..., h, w] to places int64 [...]; where one comes twice, its last frame stays."""
        flat, images = places.reshape(-1), frames.reshape(-1, *self.frame_shape)
        for first in range(0, len(flat), _CHUNK):
            some = flat[first : first + _CHUNK]
            # A device writes in any order, so every place once.
            last = len(some) - 1 - np.unique(some[::-1], return_index=True)[1]
            self.device.write(self.memory, some[last], images[first : first + _CHUNK][last])

    def read(self, numbers: Numbers, out: Frames | None = None) -> Frames:
        """The frames of numbers uint8 [B, K, 1, 8]: uint8 [B, K, h, w] on the device, into `out` if given."""
        return gather_frames(self.device, self.memory, self.device.put(_places(numbers)), out)

    def export(self, numbers: Numbers) -> npt.NDArray[np.uint8]:
        """The frames of numbers uint8 [..., 1, 8] on the host: uint8 [..., h, w]."""
        flat = numbers.reshape(-1, 1, *NUMBER_SHAPE)
        images = np.empty((len(flat), *self.frame_shape), np.uint8)
        for first in range(0, len(flat), _CHUNK):
            some = self.read(flat[first : first + _CHUNK])
            images[first : first + _CHUNK] = self.device.get(some)[:, 0]
        return images.reshape(*numbers.shape[:-2], *self.frame_shape)


def numbers_at(places: npt.NDArray[np.int64]) -> Numbers:
    """The numbers of frames at places int64 [...]: uint8 [..., 1, 8]."""
    numbers = np.ascontiguousarray(places + 1, np.int64)
    return numbers[..., None].view(np.uint8).reshape(*places.shape, *NUMBER_SHAPE)


def _places(numbers: Numbers) -> npt.NDArray[np.int64]:
    """Inverse of `numbers_at`; -1 where there is no frame."""
    flat: npt.NDArray[np.int64] = np.ascontiguousarray(numbers).reshape(-1, 8).view(np.int64)[:, 0]
    return flat.reshape(numbers.shape[:-2]) - 1
