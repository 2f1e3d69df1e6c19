"""Shifted frames are those of the plain definition."""

import numpy as np
import pytest

from mbpo_fast.ops import reference, shift_frames

SIDES = [(84, 84), (7, 9), (1, 1), (1, 5), (6, 1)]


@pytest.mark.parametrize("sides", SIDES)
def test_every_offset_repeats_the_edge(sides: tuple[int, int]) -> None:
    far = max(sides) + 2
    offsets = np.array([(d, r) for d in (-far, -3, 0, 1, far) for r in (-far, -1, 0, 4, far)])
    down, right = np.ascontiguousarray(offsets.T)
    frames = np.random.default_rng(0).integers(0, 256, (len(offsets), 3, *sides), np.uint8)
    out = np.empty_like(frames)
    shift_frames(frames, down, right, out)
    assert np.array_equal(out, reference.shift_frames(frames, down, right))
    assert np.array_equal(out[12], frames[12]), "moved by nothing"


def test_extreme_offsets_stay_inside() -> None:
    frames = np.arange(24, dtype=np.uint8).reshape(2, 1, 3, 4)
    out = np.empty_like(frames)
    limits = np.array([np.iinfo(np.int64).min, np.iinfo(np.int64).max])
    shift_frames(frames, limits, limits[::-1].copy(), out)
    assert (out[0] == frames[0, 0, 2, 0]).all()
    assert (out[1] == frames[1, 0, 0, 3]).all()


BAD = [
    ({"frames": np.zeros((2, 3, 4), np.uint8)}, r"frames .*\[any,any,any,any\]"),
    (
        {"frames": np.zeros((2, 3, 4, 0), np.uint8), "out": np.zeros((2, 3, 4, 0), np.uint8)},
        "frames of at least one pixel",
    ),
    ({"down": np.zeros(3, np.int64)}, r"down .*\[2\], got int64 \[3\]"),
    ({"right": np.zeros(2, np.int32)}, r"right .*got int32"),
    ({"out": np.zeros((2, 3, 5, 4), np.uint8)}, r"out .*\[2,3,4,5\]"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_what_does_not_fit_is_refused(changes: dict[str, np.ndarray], message: str) -> None:
    given = {
        "frames": np.zeros((2, 3, 4, 5), np.uint8),
        "down": np.zeros(2, np.int64),
        "right": np.zeros(2, np.int64),
        "out": np.zeros((2, 3, 4, 5), np.uint8),
    } | changes
    with pytest.raises(ValueError, match=r"\[shift_frames\] expected " + message):
        shift_frames(**given)


def test_frames_cannot_be_moved_in_place() -> None:
    frames = np.zeros((2, 3, 4, 5), np.uint8)
    with pytest.raises(ValueError, match="out apart from frames, got overlapping memory"):
        shift_frames(frames, np.zeros(2, np.int64), np.zeros(2, np.int64), frames)
