"""Checkpoints: bit-exact, sharing segments, older ones unspoilt."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_parts import Ring

from mbpo_fast.training.checkpoint import CheckpointStore


def segments(store: CheckpointStore) -> list[str]:
    return sorted(path.name.rpartition("-")[0] for path in (store.root / "segments").iterdir())


def test_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    dtypes = "bool u1 i1 u2 i2 u4 i4 u8 i8 f2 f4 f8"
    state: dict[str, Any] = {
        "arrays": {name: np.arange(6).astype(name).reshape(2, 3) for name in dtypes.split()},
        "empty": np.zeros((0, 4), np.float32),
        "scalar": np.array(3.5),
        "strided": np.arange(20)[::3],
        "frozen": np.arange(3),
        "tensors": [torch.arange(3, dtype=torch.bfloat16), torch.tensor(7), torch.zeros(0)],
        "rng": torch.random.get_rng_state(),
        "numbers": [1, 2**127, -0.0, 0.1, 1e-320, float("inf"), True, None, "text \u00e9"],
        "numpy_scalars": {"i": np.int64(3), "f": np.float32(0.1), "b": np.bool_(True)},
        "nested": {"a": {"b.c": {"d": []}}},
    }
    state["frozen"].flags.writeable = False
    store = CheckpointStore(tmp_path / "new" / "checkpoints", keep=2)
    path = store.save(12, state, {})
    assert path.name == "ckpt_000000012"
    loaded = store.load(path, {})
    for name, array in state["arrays"].items():
        assert loaded["arrays"][name].dtype == array.dtype
        assert loaded["arrays"][name].tobytes() == array.tobytes()
        loaded["arrays"][name][:] = 0  # writable
    for name in ("empty", "scalar", "strided", "frozen"):
        np.testing.assert_array_equal(loaded[name], state[name], strict=True)
    for old, new in zip(state["tensors"], loaded["tensors"], strict=True):
        assert old.dtype == new.dtype
        assert torch.equal(old, new)
    assert torch.equal(loaded["rng"], state["rng"])
    assert loaded["numbers"] == state["numbers"]
    assert str(loaded["numbers"][2]) == "-0.0"
    assert loaded["numpy_scalars"] == {"i": 3, "f": float(np.float32(0.1)), "b": True}
    assert loaded["nested"] == state["nested"]
    nan = store.load(store.save(13, {"x": float("nan")}, {}), {})["x"]
    assert nan != nan


@pytest.mark.parametrize("shape", [(8, 4, 5, 3), (8, 1, 5, 3), (1, 4, 1, 3)])
def test_channels_last_stays_channels_last(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Fused Adam walks the raw memory of weights and moments together: their orders must agree."""
    tensor = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    views = {"t": tensor, "transposed": torch.randn(3, 4).T, "holes": torch.randn(6, 6)[::2, 1:4]}
    store = CheckpointStore(tmp_path, keep=1)
    loaded = store.load(store.save(1, views, {}), {})
    for name, view in views.items():
        assert torch.equal(loaded[name], view)
    assert loaded["t"].is_contiguous(memory_format=torch.channels_last)
    assert loaded["transposed"].stride() == views["transposed"].stride()


def test_an_optimizer_goes_on_as_if_never_saved(tmp_path: Path) -> None:
    def steps(net: torch.nn.Module, optimizer: torch.optim.Optimizer, seeds: range) -> None:
        for seed in seeds:
            torch.manual_seed(seed)
            optimizer.zero_grad()
            x = torch.randn(4, 3, 9, 9).contiguous(memory_format=torch.channels_last)
            net(x).square().mean().backward()
            optimizer.step()

    def build() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        net = torch.nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
        return net, torch.optim.AdamW(net.parameters(), lr=0.01, fused=True)

    net, optimizer = build()
    steps(net, optimizer, range(3))
    moments = {str(i): entry for i, entry in optimizer.state_dict()["state"].items()}
    store = CheckpointStore(tmp_path, keep=1)
    path = store.save(3, {"net": net.state_dict(), "moments": moments}, {})
    steps(net, optimizer, range(3, 6))

    other, resumed = build()
    state = store.load(path, {})
    other.load_state_dict(state["net"])
    entries = {int(i): entry for i, entry in state["moments"].items()}
    resumed.load_state_dict({"state": entries, "param_groups": resumed.state_dict()["param_groups"]})
    steps(other, resumed, range(3, 6))
    assert torch.equal(net.weight, other.weight)


@pytest.mark.parametrize(
    "state",
    [
        {"x": object()},
        {"x": {1, 2}},
        {1: 2},
        {"$x": 1},
        {"x": np.array(["a"])},
        {"x": np.arange(3, dtype=">i4")},
        {"a/b": torch.ones(1), "a": {"b": torch.ones(1)}},
    ],
)
def test_what_cannot_be_saved_is_refused(tmp_path: Path, state: dict[Any, Any]) -> None:
    store = CheckpointStore(tmp_path, keep=1)
    store.save(1, {"fine": 1}, {})
    with pytest.raises(TypeError, match=r"\[checkpoint\] expected"):
        store.save(2, state, {})
    assert store.steps() == [1]
    assert not list(tmp_path.glob(".tmp*"))


def test_segments_are_shared_and_collected(tmp_path: Path) -> None:
    store, ring = CheckpointStore(tmp_path, keep=2), Ring(capacity=10)
    for step in (4, 8, 12):
        ring.add(4)
        store.save(step, {}, {"ring": ring})
    assert ring.exported == [(0, 4), (4, 8), (8, 12)]  # only what is new
    assert store.steps() == [8, 12]
    assert segments(store) == ["ring-0-4", "ring-4-8", "ring-8-12"]
    ring.add(4)  # oldest is 6: nothing needs 0-4 but checkpoint 12, which stays
    store.save(16, {}, {"ring": ring})
    ring.add(4)
    store.save(20, {}, {"ring": ring})
    assert segments(store) == ["ring-12-16", "ring-16-20", "ring-4-8", "ring-8-12"]
    for path in map(store.root.joinpath, ("ckpt_000000016", "ckpt_000000020")):
        store.load(path, {"ring": Ring(10)})


def test_a_resumed_store_writes_only_what_is_new(tmp_path: Path) -> None:
    ring = Ring(capacity=10)
    ring.add(7)
    CheckpointStore(tmp_path, keep=1).save(7, {}, {"ring": ring})
    store, again = CheckpointStore(tmp_path, keep=1), Ring(10)
    store.load(store.latest() or tmp_path, {"ring": again})
    assert again.same_as(ring)
    again.add(2)
    store.save(9, {}, {"ring": again})
    assert again.exported == [(7, 9)]


def test_a_buffer_that_changed_its_layout_is_written_anew(tmp_path: Path) -> None:
    store, ring = CheckpointStore(tmp_path, keep=1), Ring(capacity=10)
    ring.add(6)
    store.save(1, {}, {"ring": ring})
    ring.capacity = 20
    ring.add(2)
    store.save(2, {}, {"ring": ring})
    assert ring.exported == [(0, 6), (0, 8)]
    assert segments(store) == ["ring-0-8"]


def test_going_back_does_not_spoil_the_newer_checkpoint(tmp_path: Path) -> None:
    store, ring = CheckpointStore(tmp_path, keep=5), Ring(capacity=10)
    ring.add(2)
    first = store.save(2, {}, {"ring": ring})
    ring.add(2)
    newer = store.save(4, {}, {"ring": ring})
    other, back = CheckpointStore(tmp_path, keep=5), Ring(10)
    other.load(first, {"ring": back})
    back.add(2, salt=7)  # the same slots, another history
    other.save(3, {}, {"ring": back})
    again = Ring(10)
    store.load(newer, {"ring": again})
    assert again.same_as(ring)


def test_a_step_can_be_saved_twice(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=1)
    store.save(1, {"x": 1}, {})
    path = store.save(1, {"x": 2}, {})
    assert store.load(path, {}) == {"x": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["ckpt_000000001"]


def test_a_crash_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=1)
    path = store.save(1, {"x": 1}, {})
    path.rename(tmp_path / "ckpt_000000001.old")
    assert store.steps() == [1]
    assert store.load(store.latest() or tmp_path, {}) == {"x": 1}
    store.save(1, {"x": 2}, {})
    assert [p.name for p in tmp_path.iterdir()] == ["ckpt_000000001"]
