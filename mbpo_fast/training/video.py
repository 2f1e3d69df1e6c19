"""Videos of games: mp4 by PyAV when the extra is installed, otherwise a GIF by our own small encoder."""

from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mbpo_fast.errors import missing_extra

Frame = npt.NDArray[np.uint8]
VIEW_HEIGHT = 320
"""Frames are enlarged, pixel by pixel, to about this height: players show an 84-pixel video as a stamp."""
_GIF_BITS = 8
_GIF_CODES = 4096


def write_video(path: Path, frames: Sequence[Frame], fps: int) -> Path:
    """Write frames u8 [h, w] (gray) or [h, w, 3] (RGB), all of one shape; returns the file.

    A `path` that ends in `.mp4` or `.gif` says the format, MissingExtraError where it needs PyAV; otherwise
    the suffix is added: `.mp4` with PyAV, else `.gif`. The file appears once it is complete.
    """
    _check(frames, fps)
    target = video_file(path)
    mp4 = target.suffix == ".mp4"
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".tmp-{target.name}")
    try:
        (_write_mp4 if mp4 else write_gif)(aside, frames, fps)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
    return target


def video_file(path: Path) -> Path:
    """The file that `write_video` writes for this path."""
    available = find_spec("av") is not None
    if path.suffix == ".mp4" and not available:
        raise missing_extra("av", "video")
    if path.suffix in (".mp4", ".gif"):
        return path
    return path.with_name(f"{path.name}.{'mp4' if available else 'gif'}")


def write_gif(path: Path, frames: Sequence[Frame], fps: int) -> None:
    """Write an endless GIF89a: exact for gray frames and for up to 256 colours, else 8 x 8 x 4 colours."""
    _check(frames, fps)
    indexed, palette = _indexed(frames)
    height, width = indexed.shape[1:]
    size = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    with path.open("wb") as file:
        # Flags 0xF7: a global table of 256 colours, 8 bits each.
        file.write(b"GIF89a" + size + b"\xf7\x00\x00" + palette.tobytes())
        file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")
        for part, top, left, delay in _changes(indexed, fps):
            file.write(_gif_image(part, top, left, delay))
        file.write(b";")


def _check(frames: Sequence[Frame], fps: int) -> None:
    if not len(frames) or fps < 1:
        raise ValueError(f"[write_video] expected frames and fps >= 1, got {len(frames)} and {fps}")
    shape = frames[0].shape
    gray_or_rgb = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
    if not gray_or_rgb or any(f.shape != shape or f.dtype != np.uint8 for f in frames):
        raise ValueError("[write_video] expected frames u8 [h, w] or [h, w, 3] of one shape")


def _write_mp4(path: Path, frames: Sequence[Frame], fps: int) -> None:
    import av

    pixels = "gray" if frames[0].ndim == 2 else "rgb24"
    scale = max(1, round(VIEW_HEIGHT / frames[0].shape[0]))
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "20", "preset": "fast"})
        stream.pix_fmt = "yuv420p"
        stream.height, stream.width = (side * scale + side * scale % 2 for side in frames[0].shape[:2])
        for frame in frames:
            enlarged = _even(frame.repeat(scale, axis=0).repeat(scale, axis=1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(enlarged, format=pixels)))
        container.mux(stream.encode(None))


def _even(frame: Frame) -> Frame:
    """Height and width made even, as yuv420p wants them, by repeating the last row and column."""
    padding = [(0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)][: frame.ndim]
    return np.ascontiguousarray(np.pad(frame, padding, mode="edge"))


def _indexed(frames: Sequence[Frame]) -> tuple[Frame, Frame]:
    """Palette indices u8 [N, h, w] of frames [h, w] or [h, w, 3], and the palette u8 [256, 3].

    Frame by frame: a long game in colours as whole numbers would take gigabytes.
    """
    if frames[0].ndim == 2:
        return np.stack(frames), np.arange(256, dtype=np.uint8).repeat(3).reshape(256, 3)
    colors: npt.NDArray[Any] = np.zeros(0, np.uint32)
    indexed: list[npt.NDArray[Any]]
    for frame in frames:
        colors = np.union1d(colors, _rgb_numbers(frame))
        if len(colors) > 256:
            break
    if len(colors) <= 256:
        indexed = [np.searchsorted(colors, _rgb_numbers(frame)).astype(np.uint8) for frame in frames]
    else:
        colors = np.arange(256, dtype=np.uint32)
        colors = (colors >> 5) * 36 << 16 | (colors >> 2 & 7) * 36 << 8 | (colors & 3) * 85
        indexed = [frame[..., 0] >> 5 << 5 | frame[..., 1] >> 5 << 2 | frame[..., 2] >> 6 for frame in frames]
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colors)] = np.stack([colors >> 16, colors >> 8 & 255, colors & 255], axis=1)
    return np.stack(indexed), palette


def _rgb_numbers(frame: Frame) -> npt.NDArray[Any]:
    """A frame's colours as whole numbers u32 [h, w]."""
    return frame.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)


def _changes(frames: Frame, fps: int) -> Iterator[tuple[Frame, int, int, int]]:
    """For each frame that differs from the one before: the rectangle that changed, its place, its delay.

    Delays are in hundredths of a second, rounded so that they add up.
    """
    moving = [0, *(i for i in range(1, len(frames)) if (frames[i] != frames[i - 1]).any())]
    ends = [round(100 * i / fps) for i in [*moving[1:], len(frames)]]
    begins = [round(100 * i / fps) for i in moving]
    for i, begin, end in zip(moving, begins, ends, strict=True):
        changed = frames[i] != frames[i - 1] if i else np.ones_like(frames[0], dtype=bool)
        rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
        part = frames[i, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        yield part, int(rows[0]), int(columns[0]), end - begin


def _gif_image(part: Frame, top: int, left: int, delay: int) -> bytes:
    """One image block: a rectangle that is drawn over what is there and left in place."""
    place = b"".join(value.to_bytes(2, "little") for value in (left, top, part.shape[1], part.shape[0]))
    control = b"!\xf9\x04\x04" + min(delay, 0xFFFF).to_bytes(2, "little") + b"\x00\x00"
    data = _packed(_lzw_codes(part.tobytes()))
    blocks = b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))
    return control + b"," + place + b"\x00" + bytes([_GIF_BITS]) + blocks + b"\x00"


def _lzw_codes(pixels: bytes) -> Iterator[tuple[int, int]]:
    """(code, bits) of GIF's variable-width LZW (GIF89a specification, appendix F)."""
    clear, end = 1 << _GIF_BITS, (1 << _GIF_BITS) + 1
    table: dict[tuple[int, int], int] = {}
    following, bits = end + 1, _GIF_BITS + 1
    yield clear, bits
    prefix = pixels[0]
    for pixel in pixels[1:]:
        known = table.get((prefix, pixel))
        if known is not None:
            prefix = known
            continue
        yield prefix, bits
        prefix_before, prefix = prefix, pixel
        if following == _GIF_CODES:
            yield clear, bits
            table.clear()
            following, bits = end + 1, _GIF_BITS + 1
            continue
        # The decoder is one entry behind: it widens its codes once this entry needs it.
        bits += following == 1 << bits
        table[prefix_before, pixel] = following
        following += 1
    yield prefix, bits
    yield end, bits + (following == 1 << bits and bits < 12)


def _packed(codes: Iterable[tuple[int, int]]) -> bytes:
    """Codes as bytes, least significant bit first."""
    data = bytearray()
    pending = filled = 0
    for code, bits in codes:
        pending |= code << filled
        filled += bits
        while filled >= 8:
            data.append(pending & 255)
            pending >>= 8
            filled -= 8
    if filled:
        data.append(pending)
    return bytes(data)
