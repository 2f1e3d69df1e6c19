import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbpo_fast.ops import preprocess_frames, reference


def screens(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def opencv(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.stack([cv2.resize(f.max(0), size[::-1], interpolation=cv2.INTER_AREA) for f in frames])


@pytest.mark.parametrize("height", [210, 214, 220, 230, 250])
def test_bytes_equal_opencv_at_every_atari_height(height):
    frames = screens((40, 2, height, 160))
    assert np.array_equal(preprocess_frames(frames), opencv(frames, (84, 84)))


@pytest.mark.parametrize("height", [210, 250])
def test_ties_round_as_in_opencv(height):
    # Few gray levels make sums that fall on a half often; noise alone hardly meets one.
    frames = screens((40, 2, height, 160)) // 100 * 100
    assert np.array_equal(preprocess_frames(frames), opencv(frames, (84, 84)))


@settings(deadline=None)
@given(
    source=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    part=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    count=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_odd_shapes_equal_the_reference(source, part, count, seed):
    size = tuple(1 + int(p * (s - 1)) for p, s in zip(part, source, strict=True))
    frames = screens((count, 2, *source), seed)
    assert np.array_equal(preprocess_frames(frames, size), reference.preprocess(frames, size))


def test_slivers_are_dropped_as_in_opencv():
    # Cells overlap pixels by multiples of 1/1500, some of them below the 1e-3 that OpenCV leaves out.
    frames = screens((1, 2, 500, 2999))
    ours = preprocess_frames(frames, (499, 1500))
    assert np.array_equal(ours, reference.preprocess(frames, (499, 1500)))
    assert np.array_equal(ours, opencv(frames, (499, 1500)))


def test_integer_ratios_are_within_one_level_of_opencv():
    # There OpenCV takes another path, which rounds halves up.
    frames = screens((4, 2, 168, 168))
    ours, theirs = preprocess_frames(frames).astype(int), opencv(frames, (84, 84)).astype(int)
    assert np.abs(ours - theirs).max() <= 1


def test_equal_size_is_the_maximum():
    frames = screens((3, 2, 84, 84))
    assert np.array_equal(preprocess_frames(frames), frames.max(axis=1))


def test_white_stays_white():
    frames = np.full((1, 2, 250, 160), 255, np.uint8)
    assert (preprocess_frames(frames) == 255).all()


def test_out_is_filled_and_returned():
    frames = screens((2, 2, 210, 160))
    out = np.zeros((2, 84, 84), np.uint8)
    assert preprocess_frames(frames, out=out) is out
    assert np.array_equal(out, preprocess_frames(frames))


GOOD = np.zeros((2, 2, 10, 10), np.uint8)
READ_ONLY = np.zeros((2, 5, 5), np.uint8)
READ_ONLY.setflags(write=False)
BAD = [
    (
        lambda: preprocess_frames(GOOD.astype(np.float32), (5, 5)),
        r"contiguous uint8 .*got float32",
    ),
    (lambda: preprocess_frames(GOOD[:, :1], (5, 5)), r"expected frames .*\[any,2,any,any\]"),
    (lambda: preprocess_frames(GOOD[..., ::2], (5, 5)), r"got uint8 \[2,2,10,5\] not contiguous"),
    (lambda: preprocess_frames(GOOD.tolist(), (5, 5)), r"expected frames .*got list"),
    (lambda: preprocess_frames(GOOD, (11, 5)), r"expected 1 <= height <= the source's .*got 11 from 10"),
    (lambda: preprocess_frames(GOOD, (5, 11)), r"expected 1 <= width"),
    (lambda: preprocess_frames(GOOD, (0, 5)), r"expected size"),
    (lambda: preprocess_frames(np.zeros((1, 2, 0, 4), np.uint8), (1, 1)), r"expected 1 <= height"),
    (lambda: preprocess_frames(GOOD, (5, 5), np.zeros((1, 5, 5), np.uint8)), r"expected out .*\[2,any,any\]"),
    (lambda: preprocess_frames(GOOD, (5, 5), np.zeros((2, 5, 6), np.uint8)), r"expected out \[N,5,5\]"),
    (lambda: preprocess_frames(GOOD, (5, 5), READ_ONLY), r"writeable uint8 .*got .*read-only"),
    (lambda: preprocess_frames(GOOD, (5, 5), [0]), r"expected out .*got list"),
    (lambda: preprocess_frames(GOOD, (5, 5), GOOD.reshape(-1)[:50].reshape(2, 5, 5)), r"overlapping"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=r"\[preprocess_frames\] .*" + message):
        call()
