"""Cells of movements and steps of means: equal to the plain definitions for every instruction set."""

from typing import Any

import numpy as np
import pytest

from mbpo_fast.ops import mean_steps, movement_cells, reference

pytestmark = pytest.mark.usefixtures("isa")


def contexts(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


SHAPES = [((3, 36, 84, 84), 12, 4), ((2, 5, 36, 36), 5, 4), ((1, 3, 8, 4), 1, 4), ((2, 4, 9, 15), 3, 3)]


@pytest.mark.parametrize(("shape", "newest", "cell"), SHAPES)
def test_movement_cells_are_exact_in_both_precisions(shape: tuple[int, ...], newest: int, cell: int) -> None:
    frames = contexts(*shape)
    expected = reference.movement_cells(frames, newest, cell)
    floats, halves = np.empty_like(expected), np.empty(expected.shape, np.uint16)
    movement_cells(frames, newest, cell, floats)
    movement_cells(frames, newest, cell, halves)
    assert np.array_equal(floats, expected)
    assert np.array_equal((halves.astype(np.uint32) << 16).view(np.float32), expected)


@pytest.mark.parametrize(("shape", "_", "cell"), SHAPES)
def test_steps_of_means(shape: tuple[int, ...], _: int, cell: int) -> None:
    frames = contexts(*shape)
    expected = reference.mean_steps(frames, cell)
    steps = np.empty(expected.shape, np.float32)
    mean_steps(frames, cell, steps)
    assert np.allclose(
        steps, expected, rtol=0, atol=1e-5 if cell == 3 else 0
    )  # ninths are no binary fractions


FRAMES = contexts(2, 4, 8, 8)
OUT = np.zeros((2, 2, 2, 32), np.float32)
BAD = [
    (lambda: movement_cells(FRAMES, 0, 4, OUT), r"\[movement_cells\] expected 1 <= newest <= 4, got 0"),
    (lambda: movement_cells(FRAMES, 5, 4, OUT), r"expected 1 <= newest <= 4, got 5"),
    (
        lambda: movement_cells(FRAMES, 2, 3, np.zeros((2, 2, 2, 18), np.float32)),
        r"that divides .*got 3 for 8x8",
    ),
    (lambda: movement_cells(FRAMES, 2, 0, OUT), r"expected 1 <= cell <= 64, got 0"),
    (lambda: movement_cells(FRAMES, 2, 2**40, OUT), r"expected 1 <= cell <= 64, got 1099511627776"),
    (lambda: movement_cells(FRAMES, 2, 4, OUT[:1]), r"expected out .*\[2,2,2,32\]"),
    (lambda: movement_cells(FRAMES, 2, 4, OUT.astype(np.float64)), r"expected out .*got float64"),
    (lambda: movement_cells(FRAMES[:, ::2], 2, 4, OUT), r"expected context .*not contiguous"),
    (lambda: mean_steps(FRAMES[:, :1].copy(), 4, np.zeros((2, 2, 2, 0), np.float32)), r"2 frames or more"),
    (lambda: mean_steps(FRAMES.astype(np.int64), 4, OUT), r"\[mean_steps\] expected context .*got int64"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_arguments(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_contexts_may_be_views_into_longer_rows() -> None:
    windows = np.random.default_rng(2).integers(0, 256, (3, 5, 8, 8), dtype=np.uint8)
    for view in (windows[:, :-1], windows[:, 1:], windows[::2, :4], windows[1:2, :4]):
        cells, steps = np.empty((len(view), 2, 2, 32), np.float32), np.empty((len(view), 2, 2, 3), np.float32)
        movement_cells(view, 2, 4, cells)
        mean_steps(view, 4, steps)
        assert np.array_equal(cells, reference.movement_cells(view, 2, 4))
        assert np.array_equal(steps, reference.mean_steps(view, 4))


@pytest.mark.parametrize("turn", [np.s_[::-1], np.s_[:, ::-1], np.s_[:, ::2], np.s_[..., ::2]])
def test_rows_that_are_not_contiguous_are_refused(turn: Any) -> None:
    frames = np.zeros((3, 4, 8, 8), np.uint8)[turn]
    with pytest.raises(ValueError, match=r"\[mean_steps\] expected context as contiguous rows of uint8"):
        mean_steps(frames, 4, np.zeros((3, 2, 2, len(frames[0]) - 1), np.float32))
