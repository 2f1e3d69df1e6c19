"""Screens to frames on one thread, each instruction set beside OpenCV with its buffers allocated once."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

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


@pytest.mark.benchmark(group="preprocess")
@pytest.mark.parametrize(
    ("impl", "run"), [("mbpo_fast", ours), ("opencv", opencv)], ids=["mbpo_fast", "opencv"]
)
@pytest.mark.parametrize("isa", _core.isas())
@pytest.mark.parametrize("height", [210, 250])
def test_preprocess(
    benchmark: Callable[..., None],
    tag: Callable[..., None],
    impl: str,
    run: Callable,
    isa: str,
    height: int,
    turn: int,
) -> None:
    screens = np.random.default_rng(0).integers(0, 256, (FRAMES, 2, height, 160), np.uint8)
    results = {f: np.zeros((FRAMES, 84, 84), np.uint8) for f in (ours, opencv)}
    before, threads = _core.isa(), cv2.getNumThreads()
    _core.use_isa(isa)
    cv2.setNumThreads(1)
    try:
        for function, out in results.items():
            function(screens, out)
        assert np.array_equal(results[ours], results[opencv])
        tag(impl, f"{height}x160 {isa}", FRAMES)
        benchmark(run, screens, results[run])
    finally:
        _core.use_isa(before)
        cv2.setNumThreads(threads)
