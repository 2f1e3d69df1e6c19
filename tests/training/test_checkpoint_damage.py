"""Checkpoints that are damaged, foreign, or cut off in the middle: named, and nothing is lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_parts import Ring

from mbpo_fast.errors import UsageError
from mbpo_fast.training.checkpoint import CheckpointStore

TESTS = Path(__file__).parent.parent


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
    from checkpoint_parts import Ring
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


def saver(root: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SAVER), str(root)],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_kill_in_the_middle_of_saving(tmp_path: Path) -> None:
    """After every SIGKILL the newest checkpoint is whole, and not older than the last one reported."""
    root = tmp_path / "checkpoints"
    rng = np.random.default_rng(0)
    reported = 0
    for _ in range(3):
        with saver(root) as process:
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
    from checkpoint_parts import Ring
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
    arguments = [str(root), str(slots), str(floats)]
    code = textwrap.dedent(FULL_DISK).replace("Ring(50)", "Ring(5000)")
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "File too large"
    assert store.steps() == [1]
    assert store.load(store.latest() or root, {}) == {"x": 1}
    assert not list(root.rglob(".tmp*"))
