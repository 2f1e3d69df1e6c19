"""The buffers of a run through a checkpoint: they go on as if never saved."""

from pathlib import Path

import numpy as np
import pytest

from mbpo_fast.data import ModelBuffer, ReplayBuffer
from mbpo_fast.training.checkpoint import CheckpointStore


def filled_replay(adds: int) -> ReplayBuffer:
    replay = ReplayBuffer(40, 2, frame_shape=(5, 5), seed=3, holdout_ratio=0.5)
    return more(replay, adds)


def more(replay: ReplayBuffer, adds: int) -> ReplayBuffer:
    for _ in range(adds):
        g = replay.total
        rng = np.random.default_rng(g)
        first = np.full(2, g % 7 == 0)
        frame = rng.integers(0, 256, (2, 5, 5), dtype=np.uint8)
        ended = np.full(2, g % 7 == 6)
        replay.add(frame, rng.integers(0, 3, 2), np.ones(2, np.float32), ended, ~ended & False, first)
    return replay


@pytest.mark.parametrize("before", [3, 18, 30])
def test_the_replay_buffer_goes_on_as_if_never_saved(tmp_path: Path, before: int) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    replay = filled_replay(before)
    store.save(1, {}, {"replay": replay})
    more(replay, 9)
    replay.sample(4)
    path = store.save(2, {}, {"replay": replay})
    again = filled_replay(0)
    other = CheckpointStore(tmp_path, keep=2)
    other.load(path, {"replay": again})
    for step in range(3, 6):
        batches = [more(buffer, 5).sample(16, n_step=2) for buffer in (replay, again)]
        for name in ("obs", "next_obs", "action", "reward", "discount", "terminated", "ids"):
            np.testing.assert_array_equal(*(getattr(batch, name) for batch in batches))
        other.save(step, {}, {"replay": again})


def roll(buffer: ModelBuffer, branches: int) -> None:
    rng = np.random.default_rng(buffer.total)
    ids = buffer.begin(rng.integers(0, 256, (branches, 4, 5, 5), dtype=np.uint8))
    for _ in range(buffer.horizon):
        frame = rng.integers(0, 256, (branches, 5, 5), dtype=np.uint8)
        none = np.zeros(branches, bool)
        buffer.append(
            ids,
            frame,
            np.zeros(branches, np.int64),
            np.ones(branches, np.float32),
            none,
            np.zeros(branches, np.int16),
        )


def test_the_model_buffer_survives_a_longer_horizon(tmp_path: Path) -> None:
    def build() -> ModelBuffer:
        return ModelBuffer(12, context=4, horizon=1, frame_shape=(5, 5), seed=1)

    store, buffer = CheckpointStore(tmp_path, keep=1), build()
    roll(buffer, 6)
    store.save(1, {}, {"model": buffer})
    buffer.resize(20, 3)
    roll(buffer, 6)
    store.save(2, {}, {"model": buffer})
    roll(buffer, 6)
    path = store.save(3, {}, {"model": buffer})
    again = build()
    CheckpointStore(tmp_path, keep=1).load(path, {"model": again})
    assert again.state() == buffer.state()
    np.testing.assert_array_equal(again.sample(16).obs, buffer.sample(16).obs)


@pytest.mark.parametrize("then", [0, 7])
def test_a_cleared_buffer_goes_on_as_it_was(tmp_path: Path, then: int) -> None:
    def build() -> ModelBuffer:
        return ModelBuffer(12, context=4, horizon=2, frame_shape=(5, 5), seed=1)

    store, buffer, again = CheckpointStore(tmp_path, keep=1), build(), build()
    roll(buffer, 9)
    store.save(1, {}, {"model": buffer})
    buffer.clear()
    assert (buffer.size, buffer.num_transitions, buffer.total) == (0, 0, 9)
    if then:
        roll(buffer, then)
    CheckpointStore(tmp_path, keep=1).load(store.save(2, {}, {"model": buffer}), {"model": again})
    assert again.state() == buffer.state()
    for either in (buffer, again):
        roll(either, 5)
    assert again.state() == buffer.state()
    np.testing.assert_array_equal(again.sample(16).obs, buffer.sample(16).obs)
