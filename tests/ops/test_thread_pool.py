"""The core's threads: every item once, errors come back, callers may share a pool."""

import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from mbpo_fast import _core
from mbpo_fast.ops.network import PackedNetwork
from mbpo_fast.ops.network_builder import NetworkBuilder


def network() -> PackedNetwork:
    builder = NetworkBuilder(2, (8, 8), 1)
    x = builder.frames(2, cell=2)
    weight = np.full((4, 8, 3, 3), 0.01, np.float32)
    return PackedNetwork([builder], [builder.convolution(x, weight, np.zeros(4, np.float32), padding=1)])


def rows(count: int) -> tuple[np.ndarray, ...]:
    frames = np.random.default_rng(0).integers(0, 256, (count, 2, 8, 8), np.uint8)
    return frames, np.zeros(count, np.int64), np.zeros(count, np.int64)


def test_threads_that_share_a_pool_each_get_their_answer() -> None:
    packed, pool = network(), _core.ThreadPool(3)
    expected = packed(*rows(200))[0]
    answers: list[list[np.ndarray]] = [[] for _ in range(4)]

    def ask(which: int) -> None:
        answers[which] = [packed(*(x[: 50 * which + 1] for x in rows(200)), pool)[0] for _ in range(20)]

    threads = [threading.Thread(target=ask, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for which, own in enumerate(answers):
        assert len(own) == 20
        assert all(np.array_equal(values, expected[: 50 * which + 1]) for values in own)


def test_threads_of_many_pools_come_and_go() -> None:
    packed = network()
    expected = packed(*rows(40))[0]
    for threads in [1, 2, 8] * 5:
        assert np.array_equal(packed(*rows(40), _core.ThreadPool(threads))[0], expected)


@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_thread_counts_are_checked(threads: int) -> None:
    with pytest.raises(ValueError, match=rf"\[ThreadPool\] expected 1 <= threads <= 1024, got {threads}"):
        _core.ThreadPool(threads)
    assert _core.ThreadPool(2).threads == 2


def test_a_forked_child_drops_a_pool_whose_threads_it_does_not_have() -> None:
    pools = [_core.ThreadPool(3)]
    packed = network()
    expected = packed(*rows(40), pools[0])[0]

    def use_and_drop() -> None:
        assert np.array_equal(packed(*rows(40), pools[0])[0], expected)
        pools.clear()

    child = multiprocessing.get_context("fork").Process(target=use_and_drop)
    child.start()
    child.join(30)
    try:
        assert child.exitcode == 0
    finally:
        child.kill()
    assert np.array_equal(packed(*rows(40), pools[0])[0], expected)


@pytest.mark.skipif(
    "san" in os.environ.get("LD_PRELOAD", ""), reason="a sanitizer's own memory is over any limit"
)
def test_a_system_without_more_threads_is_an_error_and_no_crash() -> None:
    code = """
import resource
from mbpo_fast import _core
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
try:
    _core.ThreadPool(1024)
except (RuntimeError, MemoryError) as error:
    print("refused", _core.ThreadPool(1).threads)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "refused 1\n"), done.stderr
