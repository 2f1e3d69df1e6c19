import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbpo_fast.envs import atari as ale_atari
from mbpo_fast.ops import look_up_gray, preprocess_frames, reference

HEIGHTS = [210, 214, 220, 230, 250]
MANY = 9
"""Frames enough for the widest registers: fewer are made with narrower ones."""


pytestmark = pytest.mark.usefixtures("isa")


def screens(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def opencv(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.stack([cv2.resize(f.max(0), size[::-1], interpolation=cv2.INTER_AREA) for f in frames])


@pytest.mark.parametrize("height", HEIGHTS)
def test_a_million_pixels_equal_opencv_at_every_atari_height(height):
    frames = screens((150, 2, height, 160))
    ours = preprocess_frames(frames)
    assert ours.size > 1_000_000
    assert np.array_equal(ours, opencv(frames, (84, 84)))


@pytest.mark.parametrize("height", HEIGHTS)
def test_frames_one_by_one_equal_the_batch(height):
    frames = screens((MANY, 2, height, 160)) // 50 * 50
    one_by_one = np.concatenate([preprocess_frames(frames[i : i + 1]) for i in range(MANY)])
    assert np.array_equal(preprocess_frames(frames), one_by_one)


@pytest.mark.parametrize("size", [(150, 300), (3, 200), (1, 16)])
def test_more_ties_than_are_resolved_at_once(size):
    # Every other mean of four is an exact half, also in the last row, where four bytes at once reach too far.
    frames = screens((MANY, 1, 2 * size[0], 2 * size[1])) // 86 * 50
    halves = frames.reshape(MANY, size[0], 2, size[1], 2).sum(axis=(2, 4), dtype=int) % 4 == 2
    assert 0.4 < halves.mean() < 0.6
    assert halves[:, -1, -1].any()
    assert np.array_equal(preprocess_frames(frames, size), reference.preprocess(frames, size))


@pytest.mark.parametrize("height", HEIGHTS)
def test_ties_round_as_in_opencv(height):
    # Few gray levels make sums that fall on a half often; noise alone hardly meets one.
    frames = screens((40, 2, height, 160)) // 100 * 100
    assert np.array_equal(preprocess_frames(frames), opencv(frames, (84, 84)))


@pytest.mark.parametrize("width", [40, 41, 64, 79, 84, 85, 100, 120, 160])
def test_other_widths_equal_the_reference(width):
    # Some fall into the wide kernels' windows, some do not.
    frames = screens((MANY, 2, 210, 160), seed=width)
    assert np.array_equal(preprocess_frames(frames, (84, width)), reference.preprocess(frames, (84, width)))


@settings(deadline=None)
@given(
    source=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    part=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    count=st.sampled_from([0, 1, 2, MANY]),
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


@pytest.mark.parametrize("size", [(84, 84), (70, 80)])
def test_one_screen_is_its_own_maximum(size):
    frames = screens((3, 2, 210, 160))
    seen = frames.max(axis=1, keepdims=True)
    assert np.array_equal(preprocess_frames(seen, size), preprocess_frames(frames, size))


def test_white_stays_white():
    frames = np.full((1, 2, 250, 160), 255, np.uint8)
    assert (preprocess_frames(frames) == 255).all()


def test_out_is_filled_and_returned():
    frames = screens((2, 2, 210, 160))
    out = np.zeros((2, 84, 84), np.uint8)
    assert preprocess_frames(frames, out=out) is out
    assert np.array_equal(out, preprocess_frames(frames))


@pytest.mark.parametrize("num_threads", [1, 2, 3, 100])
def test_threads_share_a_batch_out(num_threads):
    frames = screens((77, 2, 210, 160))
    assert np.array_equal(preprocess_frames(frames, num_threads=num_threads), preprocess_frames(frames))


@pytest.mark.parametrize("game", ["SpaceInvaders", "Breakout", "Pooyan"])
def test_real_screens_equal_opencv(game):
    ale_py = pytest.importorskip("ale_py")
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    emulator = ale_py.ALEInterface()
    emulator.setInt("random_seed", 0)
    emulator.loadROM(ale_py.roms.get_rom_path(ale_atari.game_names()[game]))
    actions = emulator.getMinimalActionSet()
    frames = []
    for action in np.random.default_rng(0).integers(0, len(actions), 200):
        emulator.act(actions[action])
        first = emulator.getScreenGrayscale()
        emulator.act(actions[action])
        frames.append(np.stack([first, emulator.getScreenGrayscale()]))
    frames = np.stack(frames)
    assert np.array_equal(preprocess_frames(frames), opencv(frames, (84, 84)))


@pytest.mark.parametrize("shape", [(210, 160), (1, 1), (7, 13), (3, 64), (0, 5)])
def test_look_up_maps_every_byte(shape):
    rng = np.random.default_rng(0)
    screen, table = screens(shape), rng.permutation(256).astype(np.uint8)
    out = np.zeros_like(screen)
    largest = look_up_gray(screen, table, out)
    assert np.array_equal(out, table[screen])
    assert largest == (out.max() if out.size else 0)


@pytest.mark.parametrize("shape", [(210, 160), (7, 13), (3, 64), (0, 5)])
def test_the_larger_of_a_look_up_and_another_screen(shape):
    table = np.random.default_rng(0).permutation(128).repeat(2).astype(np.uint8)
    screen, over = screens(shape), screens(shape, seed=1)
    out = over.copy()
    for other in (over, out):  # `out` itself will do
        largest = look_up_gray(screen, table, out, other)
        assert np.array_equal(out, np.maximum(table[screen], over))
        assert largest == table[screen].max(initial=0), "what was looked up, not what it was compared with"


GOOD = np.zeros((2, 2, 10, 10), np.uint8)
READ_ONLY = np.zeros((2, 5, 5), np.uint8)
READ_ONLY.setflags(write=False)
BAD = [
    (
        lambda: preprocess_frames(GOOD.astype(np.float32), (5, 5)),
        r"contiguous uint8 .*got float32",
    ),
    (lambda: preprocess_frames(GOOD[:1], (5, 5), np.zeros((1, 5, 5), np.uint8)[0]), r"expected out"),
    (lambda: preprocess_frames(np.zeros((1, 3, 10, 10), np.uint8), (5, 5)), r"expected 1 or 2 screens .*3"),
    (lambda: preprocess_frames(np.zeros((1, 0, 10, 10), np.uint8), (5, 5)), r"expected 1 or 2 screens .*0"),
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
    (lambda: preprocess_frames(GOOD, (5, 5), num_threads=0), r"expected num_threads >= 1, got 0"),
    (lambda: preprocess_frames(GOOD, (5, 5), num_threads=1.5), r"expected num_threads as an integer"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=r"\[preprocess_frames\] .*" + message):
        call()


TABLE = np.zeros(256, np.uint8)
SCREEN = np.zeros((4, 5), np.uint8)
BAD_LOOK_UPS = [
    (
        lambda: look_up_gray(SCREEN, TABLE[1:], SCREEN.copy()),
        r"expected table .*\[256\], got uint8 \[255\]",
    ),
    (lambda: look_up_gray(SCREEN[0], TABLE, SCREEN.copy()), r"expected screen"),
    (lambda: look_up_gray(SCREEN, TABLE, np.zeros((5, 4), np.uint8)), r"expected out .*\[4,5\]"),
    (lambda: look_up_gray(SCREEN, TABLE, SCREEN.copy(), SCREEN[:2]), r"expected over .*\[4,5\]"),
]


@pytest.mark.parametrize(("call", "message"), BAD_LOOK_UPS)
def test_bad_look_ups(call, message):
    with pytest.raises(ValueError, match=r"\[look_up_gray\] " + message):
        call()
