"""Scripted episodes for the tests of the replay buffer."""

from collections.abc import Callable

import numpy as np
import pytest

from mbpo_fast.data import ReplayBuffer

SHAPE = (2, 3)


def image(value: int) -> np.ndarray:
    """A frame that tells its number: all of its pixels hold it."""
    return np.full(SHAPE, value % 256, np.uint8)


def _add_row(buffer: ReplayBuffer, kinds: str, reward: float = 1.0) -> None:
    """One row, a letter a lane: first, step, terminated, cut by truncation; frame = slot + 100 * lane."""
    lanes = np.array(list(kinds))
    buffer.add(
        np.stack([image(buffer.total + 100 * lane) for lane in range(len(kinds))]),
        np.full(len(kinds), buffer.total),
        np.full(len(kinds), reward),
        lanes == "t",
        lanes == "c",
        lanes == "f",
    )


def _filled(script: str, capacity: int = 100, **settings: object) -> ReplayBuffer:
    """A buffer of one lane after the script; the reward of slot g is g."""
    buffer = ReplayBuffer(capacity, 1, frame_shape=SHAPE, **settings)
    for slot, kind in enumerate(script):
        _add_row(buffer, kind, reward=slot)
    return buffer


def _values(stacks: np.ndarray) -> list[list[int]]:
    """The numbers of the frames in [B, C, H, W]."""
    assert (stacks == stacks[..., :1, :1]).all()
    return stacks[..., 0, 0].tolist()


@pytest.fixture
def add_row() -> Callable[..., None]:
    return _add_row


@pytest.fixture
def filled() -> Callable[..., ReplayBuffer]:
    return _filled


@pytest.fixture
def values() -> Callable[[np.ndarray], list[list[int]]]:
    return _values
