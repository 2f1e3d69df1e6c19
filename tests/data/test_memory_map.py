"""Frames in a file instead of in memory: the same buffer, and nothing left behind."""

import os
import subprocess
import sys

import numpy as np
import pytest

from mbpo_fast.data import ReplayBuffer


def fill(buffer: ReplayBuffer, rows: int) -> None:
    rng = np.random.default_rng(0)
    no = np.zeros(2, bool)
    for step in range(rows):
        frame = rng.integers(0, 256, (2, 8, 8), np.uint8)
        buffer.add(frame, rng.integers(0, 3, 2), rng.random(2), no, no, np.full(2, step % 9 == 0))


def test_it_draws_what_a_buffer_in_memory_draws(tmp_path):
    plain = ReplayBuffer(100, 2, frame_shape=(8, 8))
    mapped = ReplayBuffer(100, 2, frame_shape=(8, 8), memory_map=tmp_path)
    for buffer in (plain, mapped):
        fill(buffer, 180)
    for _ in range(5):
        one, other = plain.sample(32, 3), mapped.sample(32, 3)
        assert all(np.array_equal(a, other.arrays()[name]) for name, a in one.arrays().items())
    mapped.save(tmp_path / "saved")
    plain.load(tmp_path / "saved")
    assert list(tmp_path.iterdir()) == [tmp_path / "saved"], "the file has no name"


@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="ASan's own memory is over any limit")
def test_it_may_be_larger_than_the_memory_that_the_process_may_have(tmp_path):
    # Half a GB of frames in a process whose heap may have 256 MB: the map is a file's and does not count.
    code = f"""
import resource
import numpy as np
from mbpo_fast.data import ReplayBuffer
resource.setrlimit(resource.RLIMIT_DATA, (256 * 2**20, 256 * 2**20))
try:
    ReplayBuffer(75_000, 1)
except MemoryError:
    print("too large")
buffer = ReplayBuffer(75_000, 1, memory_map={str(tmp_path)!r})
no = np.zeros(1, bool)
for step in range(100):
    buffer.add(np.full((1, 84, 84), step, np.uint8), [0], [0.0], no, no, np.full(1, step == 0))
print(buffer.sample(8).obs.max() > 0)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.stdout.split("\n")[:2] == ["too large", "True"], said.stderr


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RuntimeError, match=r"\[memory_map\] expected a folder .*nowhere: No such file"):
        ReplayBuffer(100, 2, memory_map=tmp_path / "nowhere")
