"""Buffers with their frames on a GPU, and in its emulation, give the bytes of those in main memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_devices import WITH_TENSORS, on_host

from mbpo_fast.data import Batch, MixedSampler, ModelBuffer, PrioritizedReplayBuffer, ReplayBuffer
from mbpo_fast.data.futures import replayed_futures
from mbpo_fast.ops.gpu_device import Device

pytestmark = WITH_TENSORS
SHAPE = (6, 8)  # 48 bytes: whole words of a device, and 5 x 7 are none
ODD = (5, 7)
LANES = 3


def fill(buffer: ReplayBuffer, steps: int, *, seed: int = 0) -> None:
    """Random steps in which episodes end by both ends and begin anew."""
    rng = np.random.default_rng(seed)
    over = np.ones(LANES, bool)
    for _ in range(steps):
        ends = (rng.random(LANES) < 0.2) & ~over
        terminated = ends & (rng.random(LANES) < 0.5)
        buffer.add(
            rng.integers(0, 256, (LANES, *buffer.frame_shape), np.uint8),
            rng.integers(0, 4, LANES),
            rng.normal(size=LANES).astype(np.float32),
            terminated,
            ends & ~terminated,
            over,
        )
        over = ends


def both(device: Device, steps: int = 70, **settings: Any) -> list[ReplayBuffer]:
    """The same steps on the host and on the device; more than the buffers hold."""
    kind = PrioritizedReplayBuffer if settings.pop("prioritized", False) else ReplayBuffer
    given: dict[str, Any] = {"frame_shape": SHAPE, "seed": 3, "holdout_ratio": 0.3} | settings
    buffers = [kind(90, LANES, **given), kind(90, LANES, **given, device=device)]
    for buffer in buffers:
        fill(buffer, steps)
    return buffers


def assert_same(ours: Batch, spec: Batch) -> None:
    for name, column in spec.arrays().items():
        assert np.array_equal(on_host(ours.arrays()[name]), column), name


def stays(memory: Any, device: Device) -> bool:
    own = device.empty((1,), np.uint8)
    return type(memory) is type(own) and getattr(memory, "device", None) == getattr(own, "device", None)


@pytest.mark.parametrize("padding", ["reset", "zero"])
@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("frame_shape", [SHAPE, ODD])
def test_batches(device: Device, frame_shape: tuple[int, int], n_step: int, padding: str) -> None:
    host, ours = both(device, padding_type=padding, frame_shape=frame_shape)
    assert len(host) == len(ours)
    for _ in range(3):
        batch = ours.sample(16, n_step, gamma=0.9, context=5)
        assert stays(batch.obs, device)
        assert_same(batch, host.sample(16, n_step, gamma=0.9, context=5))
    ids = host.valid_ids(n_step, context=5, split="holdout")
    assert_same(ours.gather(ids, n_step, context=5), host.gather(ids, n_step, context=5))
    assert np.array_equal(on_host(ours.stacks(ids, 7)), host.stacks(ids, 7))


def test_an_out_batch_is_filled_again(device: Device) -> None:
    host, ours = both(device)
    for windows in (False, True):
        room = Batch.empty(8, 4, SHAPE, windows=windows, device=device)
        assert ours.sample(8, out=room) is room
        assert_same(room, host.sample(8))


def test_prioritised_batches_and_priorities(device: Device) -> None:
    host, ours = both(device, prioritized=True)
    for step in range(3):
        drawn = [buffer.sample(16, 2, beta=0.7) for buffer in (host, ours)]
        assert_same(drawn[1], drawn[0])
        for buffer, batch in zip((host, ours), drawn, strict=True):
            buffer.update_priorities(batch.ids, np.arange(1, 17) + step)


def test_futures(device: Device) -> None:
    host, ours = both(device)
    ids = host.valid_ids(1)[::3]
    spec, futures = (replayed_futures(buffer, ids, 4) for buffer in (host, ours))
    assert stays(futures.stacks, device)
    for name in ("action", "stacks", "alive"):
        assert np.array_equal(on_host(getattr(futures, name)), getattr(spec, name)), name


def test_saved_on_one_side_loaded_on_the_other(device: Device, tmp_path: Path) -> None:
    host, ours = both(device)
    for buffer, name in ((host, "host"), (ours, "device")):
        buffer.save(tmp_path / name)
    files = [sorted(x for x in (tmp_path / name).rglob("*") if x.is_file()) for name in ("host", "device")]
    assert [x.name for x in files[0]] == [x.name for x in files[1]]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*files, strict=True))
    fresh = both(device, steps=0)
    fresh[0].load(tmp_path / "device")
    fresh[1].load(tmp_path / "host")
    for buffer in (host, *fresh):
        fill(buffer, 9, seed=1)
    for buffer in fresh:
        assert_same(buffer.sample(32, 2), host.sample(32, 2))
        host.draws -= 1


def test_a_segment_longer_than_the_buffer_keeps_its_newest_frames(device: Device) -> None:
    long = ReplayBuffer(300, LANES, frame_shape=SHAPE, seed=3)
    fill(long, 80)
    buffers = both(device, steps=0)
    segment = long.export(0, 80)
    for buffer in buffers:
        state = buffer.state() | {"total": 80, "oldest": 80 - buffer.slots, "draws": 0}
        buffer.restore(state, [(0, segment)])
    assert_same(buffers[1].sample(40), buffers[0].sample(40))


def test_what_is_refused_changes_nothing(device: Device) -> None:
    host, ours = both(device)
    rows = [np.zeros(LANES, x) for x in (np.int64, np.float32, bool, bool, bool)]
    before = ours.export(ours.oldest, ours.total)
    for frame in (np.zeros((LANES, 6, 7), np.uint8), np.zeros((LANES, *SHAPE), np.int16)):
        with pytest.raises(ValueError, match="expected frame"):
            ours.add(frame, *rows)
    rows[1][:] = np.nan
    with pytest.raises(ValueError, match="finite"):
        ours.add(np.full((LANES, *SHAPE), 7, np.uint8), *rows)
    after = ours.export(ours.oldest, ours.total)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert ours.nbytes > host.nbytes


def branches(buffer: ModelBuffer, rounds: int, *, seed: int = 0) -> None:
    """Branches of random lengths."""
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        ids = buffer.begin(rng.integers(0, 256, (5, buffer.context, *SHAPE), np.uint8))
        for _ in range(buffer.horizon):
            ids = ids[rng.random(len(ids)) < 0.8]
            if not len(ids):
                break
            ended = rng.random(len(ids)) < 0.2
            buffer.append(
                ids,
                rng.integers(0, 256, (len(ids), *SHAPE), np.uint8),
                rng.integers(0, 4, len(ids)),
                rng.normal(size=len(ids)).astype(np.float32),
                ended,
                rng.integers(0, 3, len(ids)).astype(np.int16),
            )
            ids = ids[~ended]


def both_models(device: Device, rounds: int = 5) -> list[ModelBuffer]:
    given: dict[str, Any] = {"context": 4, "horizon": 3, "frame_shape": SHAPE, "seed": 5}
    buffers = [ModelBuffer(12, **given), ModelBuffer(12, **given, device=device)]
    for buffer in buffers:
        branches(buffer, rounds)
    return buffers


def assert_same_branches(ours: ModelBuffer, host: ModelBuffer) -> None:
    assert ours.state() == host.state()
    spec, said = (buffer.export(host.oldest, host.total) for buffer in (host, ours))
    assert all(np.array_equal(said[name], spec[name]) for name in spec)
    assert_same(ours.sample(20, 2), host.sample(20, 2))
    ids = np.arange(host.oldest, host.total)
    assert np.array_equal(on_host(ours.latest(ids)), host.latest(ids))


def test_branches(device: Device) -> None:
    host, ours = both_models(device)
    assert_same_branches(ours, host)
    assert stays(ours.sample(4).next_obs, device)
    assert ours.nbytes > host.nbytes


@pytest.mark.parametrize(("capacity", "horizon"), [(5, 4), (20, 2)])
def test_a_model_buffer_is_resized(device: Device, capacity: int, horizon: int) -> None:
    host, ours = both_models(device)
    for buffer in (host, ours):
        buffer.resize(capacity, horizon)
        branches(buffer, 1, seed=1)
    assert_same_branches(ours, host)


def test_branches_saved_on_one_side_load_on_the_other(device: Device, tmp_path: Path) -> None:
    host, ours = both_models(device)
    host.save(tmp_path / "host")
    ours.save(tmp_path / "device")
    fresh = both_models(device, rounds=0)
    fresh[0].load(tmp_path / "device")
    fresh[1].load(tmp_path / "host")
    for buffer in fresh:
        branches(buffer, 2, seed=4)
    assert_same_branches(fresh[1], fresh[0])


def test_mixed_batches(device: Device) -> None:
    replays, models = both(device), both_models(device)
    host, ours = (MixedSampler(*parts, 20, 0.3) for parts in zip(replays, models, strict=True))
    for _ in range(3):
        assert_same(ours.sample(2), host.sample(2))
    assert np.array_equal(
        on_host(ours.sample(future_steps=2).futures.stacks), host.sample(future_steps=2).futures.stacks
    )
    with pytest.raises(ValueError, match=r"\[MixedSampler\] expected the frames of both buffers on one"):
        MixedSampler(replays[0], models[1], 20, 0.3)


def test_frames_of_another_shape_are_refused(device: Device) -> None:
    ours = both_models(device)[1]
    before = ours.state()
    with pytest.raises(ValueError, match=r"\[BranchRing.begin\] expected frames as uint8 \[2, 4, 6, 8\]"):
        ours.begin(np.zeros((2, 4, 8, 6), np.uint8))
    ids = ours.begin(np.zeros((2, 4, *SHAPE), np.uint8))
    step = (np.zeros(2, np.int64), np.zeros(2, np.float32), np.zeros(2, bool), np.zeros(2, np.int16))
    with pytest.raises(ValueError, match=r"\[BranchRing.append\] expected frames as uint8 \[2, 6, 8\]"):
        ours.append(ids, np.zeros((2, 5, 8), np.uint8), *step)
    assert ours.total == before["total"] + 2
    with pytest.raises(ValueError, match="expected a buffer on a device"):
        both_models(device)[0].adopt(1)
