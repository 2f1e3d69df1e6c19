"""Screens to frames on one thread, each instruction set beside OpenCV with its buffers allocated once.

Random pixels are the harder case: one in a hundred lies on a tie, where whole numbers must ask the floats.
"""

import functools
from collections.abc import Callable

import ale_py
import cv2
import numpy as np
import pytest
from ale_py import roms

from mbpo_fast import _core
from mbpo_fast.ops import preprocess_frames

FRAMES = 64


def ours(screens: np.ndarray, out: np.ndarray) -> None:
    preprocess_frames(screens, out=out)


def opencv(screens: np.ndarray, out: np.ndarray) -> None:
    merged = np.empty(screens.shape[2:], np.uint8)
    for pair, frame in zip(screens, out, strict=True):
        cv2.max(pair[0], pair[1], dst=merged)
        cv2.resize(merged, (84, 84), dst=frame, interpolation=cv2.INTER_AREA)


@functools.cache
def game_screens(game: str) -> np.ndarray:
    """The last two screens of agent steps by random play, u8 [FRAMES, 2, height, 160]."""
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    emulator = ale_py.ALEInterface()
    emulator.setInt("random_seed", 0)
    emulator.loadROM(roms.get_rom_path(game))
    actions = emulator.getMinimalActionSet()
    screens = np.empty((FRAMES, 2, *emulator.getScreenDims()), np.uint8)
    for pair, index in zip(screens, np.random.default_rng(0).integers(0, len(actions), FRAMES), strict=True):
        for _ in range(3):
            emulator.act(actions[index])
        emulator.getScreenGrayscale(pair[0])
        emulator.act(actions[index])
        emulator.getScreenGrayscale(pair[1])
    return screens


def random_screens(height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (FRAMES, 2, height, 160), np.uint8)


SOURCES = {
    "space_invaders": functools.partial(game_screens, "space_invaders"),
    "random 210 lines": functools.partial(random_screens, 210),
    "air_raid": functools.partial(game_screens, "air_raid"),
    "random 250 lines": functools.partial(random_screens, 250),
}


@pytest.mark.benchmark(group="preprocess")
@pytest.mark.parametrize(
    ("impl", "run"), [("mbpo_fast", ours), ("opencv", opencv)], ids=["mbpo_fast", "opencv"]
)
@pytest.mark.parametrize("isa", _core.isas())
@pytest.mark.parametrize("source", SOURCES)
def test_preprocess(
    benchmark: Callable[..., None],
    tag: Callable[..., None],
    impl: str,
    run: Callable,
    isa: str,
    source: str,
    turn: int,
) -> None:
    screens = SOURCES[source]()
    results = {f: np.zeros((FRAMES, 84, 84), np.uint8) for f in (ours, opencv)}
    before, threads = _core.isa(), cv2.getNumThreads()
    _core.use_isa(isa)
    cv2.setNumThreads(1)
    try:
        for function, out in results.items():
            function(screens, out)
        assert np.array_equal(results[ours], results[opencv])
        tag(impl, f"{source}, {isa}", FRAMES)
        benchmark(run, screens, results[run])
    finally:
        _core.use_isa(before)
        cv2.setNumThreads(threads)
