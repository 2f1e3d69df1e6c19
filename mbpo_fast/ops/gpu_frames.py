"""Frames in the memory of a GPU: made from screens, gathered from a buffer."""

from typing import Any

import numpy as np

from mbpo_fast.ops.gpu_device import Device, check_array


class GpuPreprocess:
    """`preprocess_frames` on a device, for screens of one size: the same bytes.

    ValueError where a side would grow.
    """

    def __init__(self, device: Device, source: tuple[int, int], size: tuple[int, int] = (84, 84)) -> None:
        self.device, self.source, self.size = device, source, size
        self.core = device.module.Preprocess(*source, *size)
        self._tables = device.put(self.core.bytes)

    def __call__(self, frames: Any, out: Any = None) -> Any:
        """u8 [N, 2, H, W] on the device -> u8 [N, *size] there, into `out` where given. Only launches."""
        wanted = (frames.shape[0], 2, *self.source)
        check_array(self.device, "preprocess_frames", "frames", frames, wanted)
        if out is None:
            out = self.device.empty((frames.shape[0], *self.size), np.uint8)
        check_array(self.device, "preprocess_frames", "out", out, (frames.shape[0], *self.size))
        address = self.device.address
        with self.device.current():
            self.core.run(
                address(self._tables), address(frames), frames.shape[0], address(out), self.device.stream
            )
        return out


def gather_frames(device: Device, frames: Any, index: Any, out: Any = None) -> Any:
    """out[b, i] = frames[index[b, i]], zeros where the index is negative: stacks from single frames.

    frames u8 [S, h, w] and index i64 [B, K] on the device -> u8 [B, K, h, w] there, into `out` where given.
    Only launches. An index beyond the last frame gives zeros too: a device cannot refuse.
    """
    stored, *shape = frames.shape
    check_array(device, "gather_frames", "frames", frames, (stored, *shape))
    check_array(device, "gather_frames", "index", index, tuple(index.shape), "int64")
    wanted = (*index.shape, *shape)
    if out is None:
        out = device.empty(wanted, np.uint8)
    check_array(device, "gather_frames", "out", out, wanted)
    with device.current():
        device.module.gather_frames(
            device.address(frames),
            stored,
            int(np.prod(shape)),
            device.address(index),
            int(np.prod(index.shape)),
            device.address(out),
            device.stream,
        )
    return out
