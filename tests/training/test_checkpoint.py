"""Checkpoints: bit-exact, crash-safe, checked before use, sharing segments."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mbpo_fast.data import ModelBuffer, ReplayBuffer
from mbpo_fast.errors import UsageError
from mbpo_fast.training.checkpoint import CheckpointStore


class Ring:
    """The smallest Segmented: a ring of numbers whose slot g holds a value drawn from g."""

    def __init__(self, capacity: int, width: int = 3) -> None:
        self.capacity, self.width = capacity, width
        self.total = 0
        self.rows: dict[int, np.ndarray] = {}
        self.exported: list[tuple[int, int]] = []

    @property
    def oldest(self) -> int:
        return max(0, self.total - self.capacity)

    def add(self, count: int, salt: int = 0) -> None:
        for slot in range(self.total, self.total + count):
            self.rows[slot] = np.full(self.width, 1000 * salt + slot, np.int64)
        self.total += count
        self.rows = {slot: row for slot, row in self.rows.items() if slot >= self.oldest}

    def export(self, first: int, last: int) -> dict[str, np.ndarray]:
        assert self.oldest <= first < last <= self.total
        self.exported.append((first, last))
        return {"row": np.stack([self.rows[slot] for slot in range(first, last)])}

    def state(self) -> dict[str, int]:
        return {"total": self.total, "oldest": self.oldest, "capacity": self.capacity}

    def restore(self, state: dict[str, int], segments: Iterable[tuple[int, dict[str, np.ndarray]]]) -> None:
        self.capacity, self.total = state["capacity"], state["total"]
        self.rows = {first + i: row for first, s in segments for i, row in enumerate(s["row"])}
        self.rows = {slot: row for slot, row in self.rows.items() if slot >= self.oldest}
        assert sorted(self.rows) == list(range(self.oldest, self.total))

    def same_as(self, other: "Ring") -> bool:
        return self.total == other.total and all((self.rows[g] == other.rows[g]).all() for g in other.rows)


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


def saved(root: Path) -> tuple[CheckpointStore, Path]:
    store, ring = CheckpointStore(root, keep=3), Ring(capacity=50)
    ring.add(5)
    store.save(5, {"x": torch.arange(100), "y": 1}, {"ring": ring})
    ring.add(5)
    return store, store.save(10, {"x": torch.arange(100), "y": 1}, {"ring": ring})


def damaged_files(path: Path) -> list[Path]:
    segment = next((path.parent / "segments").glob("ring-5-10-*"))
    return [path / "manifest.json", path / "state.json", path / "tensors.safetensors", segment]


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "longer", "flipped", "link"])
def test_damage_is_named_and_nothing_is_touched(tmp_path: Path, index: int, damage: str) -> None:
    store, path = saved(tmp_path / "checkpoints")
    file = damaged_files(path)[index]
    content = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    elif damage == "link":
        shutil.copy(file, tmp_path / "elsewhere")
        file.unlink()
        file.symlink_to(tmp_path / "elsewhere")
    else:
        content[len(content) // 2] ^= 4 if damage == "flipped" else 0
        length = {"truncated": len(content) // 2, "empty": 0, "longer": None, "flipped": None}[damage]
        file.write_bytes(bytes(content[:length]) + b"x" * (damage == "longer"))
    ring = Ring(50)
    with pytest.raises(UsageError) as raised:
        store.load(path, {"ring": ring})
    message = str(raised.value)
    assert message.startswith(f"{file}: ")
    assert "\n" not in message
    assert "to go on from ckpt_000000005" in message
    assert ring.total == 0
    older = store.root / "ckpt_000000005"
    assert store.load(older, {"ring": ring})["y"] == 1


def test_flipped_bits_of_a_manifest_are_noticed(tmp_path: Path) -> None:
    store, path = saved(tmp_path)
    file = path / "manifest.json"
    content = file.read_bytes()
    for position in range(0, len(content), 7):
        changed = bytearray(content)
        changed[position] ^= 1
        file.write_bytes(changed)
        with pytest.raises(UsageError) as raised:
            store.load(path, {"ring": Ring(50)})
        assert str(raised.value).startswith(f"{file}: ")


def test_another_format_and_foreign_names_are_refused(tmp_path: Path) -> None:
    store, path = saved(tmp_path)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"format_version": 2}))
    with pytest.raises(UsageError, match="expected format version 1, got 2"):
        store.load(path, {})
    with pytest.raises(UsageError, match="holds no buffer 'other'"):
        store.load(store.root / "ckpt_000000005", {"other": Ring(1)})


SAVER = """
    import sys, torch
    from pathlib import Path
    from tests_checkpoint import Ring
    from mbpo_fast.training.checkpoint import CheckpointStore
    store, ring = CheckpointStore(Path(sys.argv[1]), keep=2), Ring(400, width=2000)
    latest = store.latest()
    step = store.load(latest, {"ring": ring})["step"] if latest else 0
    while True:
        step += 1
        ring.add(20)
        store.save(step, {"step": step, "x": torch.full((200_000,), step)}, {"ring": ring})
        print(step, flush=True)
"""


def saver(tmp_path: Path, root: Path) -> "subprocess.Popen[str]":
    shutil.copy(__file__, tmp_path / "tests_checkpoint.py")
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SAVER), str(root)],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_kill_in_the_middle_of_saving(tmp_path: Path) -> None:
    """After every SIGKILL the newest checkpoint is whole, and not older than the last one reported."""
    root = tmp_path / "checkpoints"
    rng = np.random.default_rng(0)
    reported = 0
    for _ in range(3):
        with saver(tmp_path, root) as process:
            assert process.stdout is not None
            reported = max(reported, int(process.stdout.readline()))
            time.sleep(rng.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
            reported = max([reported, *map(int, process.stdout.read().split())])
        store, ring = CheckpointStore(root, keep=2), Ring(400, width=2000)
        state = store.load(store.latest() or root, {"ring": ring})
        assert state["step"] == ring.total // 20 >= reported
        assert (state["x"] == state["step"]).all()
        assert all((ring.rows[slot] == slot).all() for slot in range(ring.oldest, ring.total))
        for step in store.steps():
            store.load(root / f"ckpt_{step:09d}", {"ring": Ring(400)})
    store.save(10**6, {}, {"ring": ring})
    assert not list(root.rglob(".tmp*"))


FULL_DISK = """
    import resource, signal, sys, torch
    from pathlib import Path
    from tests_checkpoint import Ring
    from mbpo_fast.training.checkpoint import CheckpointStore
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    store, ring = CheckpointStore(Path(sys.argv[1]), keep=1), Ring(50)
    ring.add(int(sys.argv[2]))
    try:
        store.save(2, {"x": torch.zeros(int(sys.argv[3]))}, {"ring": ring})
    except OSError as error:
        print(error.strerror)
"""


@pytest.mark.parametrize(("slots", "floats"), [(5, 100_000), (5000, 5)], ids=["state", "segment"])
def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path, slots: int, floats: int) -> None:
    root = tmp_path / "checkpoints"
    store = CheckpointStore(root, keep=1)
    store.save(1, {"x": 1}, {})
    shutil.copy(__file__, tmp_path / "tests_checkpoint.py")
    arguments = [str(root), str(slots), str(floats)]
    code = textwrap.dedent(FULL_DISK).replace("Ring(50)", "Ring(5000)")
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "File too large"
    assert store.steps() == [1]
    assert store.load(store.latest() or root, {}) == {"x": 1}
    assert not list(root.rglob(".tmp*"))


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


def test_the_model_buffer_survives_a_longer_horizon(tmp_path: Path) -> None:
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
