"""Emulator screens to network frames."""

import numpy as np
import numpy.typing as npt

from mbpo_fast import _core


def preprocess_frames(
    frames: npt.NDArray[np.uint8],
    size: tuple[int, int] = (84, 84),
    out: npt.NDArray[np.uint8] | None = None,
    num_threads: int = 1,
) -> npt.NDArray[np.uint8]:
    """The maximum of two gray screens, shrunk by pixel area: uint8 [N, 2, H, W] -> uint8 [N, *size].

    One screen alone, [N, 1, H, W], is its own maximum.
    Bit-exact with OpenCV's `INTER_AREA` on x86 where a side's ratio is no integer, within one gray level
    elsewhere. `out` receives the frames where given, else a new array does. Batches are shared out to at most
    `num_threads` threads. ValueError where a side would grow, or where an array is not contiguous, of another
    type or of another shape.
    """
    if out is None:
        count = frames.shape[0] if isinstance(frames, np.ndarray) and frames.ndim == 4 else 0
        out = np.empty((count, *_checked_size(size)), np.uint8)
    elif isinstance(out, np.ndarray) and out.shape[1:] != tuple(size):
        raise ValueError(f"[preprocess_frames] expected out [N,{size[0]},{size[1]}], got {list(out.shape)}")
    _core.preprocess_frames(frames, out, num_threads)
    return out


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"[preprocess_frames] expected size (height, width) >= 1, got {size}")
    return size


def look_up_gray(
    screen: npt.NDArray[np.uint8],
    table: npt.NDArray[np.uint8],
    out: npt.NDArray[np.uint8],
    over: npt.NDArray[np.uint8] | None = None,
) -> int:
    """out[y, x] = table[screen[y, x]]: a palette screen u8 [H, W] to gray by a table u8 [256].

    With `over` u8 [H, W], another gray screen, `out` is the larger of the two. Returns the largest gray level
    that was looked up, so that a table can mark colours that it does not know by 255.
    """
    return _core.look_up_gray(screen, table, out, over)


def shift_frames(
    frames: npt.NDArray[np.uint8],
    down: npt.NDArray[np.int64],
    right: npt.NDArray[np.int64],
    out: npt.NDArray[np.uint8],
) -> None:
    """Each stack of frames u8 [B, S, h, w] moved by (down, right) i64 [B] pixels into `out`, edges repeated.

    Offsets beyond a side count as the side. ValueError where an array does not fit, or `out` overlaps frames.
    """
    _core.shift_frames(frames, down, right, out)
