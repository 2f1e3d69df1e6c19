"""Batches copied by several threads: the same rows, errors before the first write, and after a fork."""

import multiprocessing
import os
import threading

import numpy as np
import pytest

from mbpo_fast.data import Batch, ReplayBuffer
from mbpo_fast.data.arguments import copy_threads

CONTEXT, ROWS = 3, 150


def filled(num_threads: int) -> ReplayBuffer:
    buffer = ReplayBuffer(60, 2, frame_shape=(4, 4), seed=3, num_threads=num_threads)
    rng = np.random.default_rng(0)
    for step in range(50):
        frame, first = rng.integers(0, 256, (2, 4, 4), np.uint8), np.full(2, step % 7 == 0)
        truncated = np.full(2, step % 7 == 6)
        buffer.add(frame, np.zeros(2, int), rng.random(2), np.zeros(2, bool), truncated, first)
    return buffer


def batches(buffer: ReplayBuffer) -> list[np.ndarray]:
    ids = np.resize(buffer.valid_ids(2, context=CONTEXT), ROWS)
    drawn = [buffer.gather(ids, n_step, gamma=0.5, context=CONTEXT) for n_step in (1, 2)]
    columns = [column for batch in drawn for column in batch.arrays().values()]
    return [*columns, buffer.stacks(ids, CONTEXT)]


def test_by_default_a_thread_for_each_core_copies() -> None:
    assert copy_threads(None) == min(len(os.sched_getaffinity(0)), 4)
    assert copy_threads(1) == 1


@pytest.mark.parametrize("num_threads", [2, 5])
def test_threads_copy_the_same_rows(num_threads: int) -> None:
    one, many = filled(1), filled(num_threads)
    for _ in range(20):
        for got, want in zip(batches(many), batches(one), strict=True):
            np.testing.assert_array_equal(got, want)


def test_a_bad_id_stops_the_threads_before_the_first_write() -> None:
    buffer = filled(3)
    out = Batch.empty(ROWS, CONTEXT, (4, 4), windows=True)
    out.window[:] = 7
    ids = np.resize(buffer.valid_ids(context=CONTEXT), ROWS)
    ids[-1] = 10**6
    with pytest.raises(ValueError, match="expected ids of stored transitions"):
        buffer.gather(ids, context=CONTEXT, out=out)
    assert (out.window == 7).all()


def test_threads_of_the_caller_share_the_threads_of_a_buffer() -> None:
    buffer = filled(3)
    want = batches(buffer)
    wrong: list[int] = []

    def read() -> None:
        for _ in range(30):
            same = [
                np.array_equal(got, expected) for got, expected in zip(batches(buffer), want, strict=True)
            ]
            wrong.append(same.count(False))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert wrong == [0] * 90


def test_a_forked_child_without_the_threads_reads_on() -> None:
    buffer = filled(2)
    want = batches(buffer)
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()

    def read(held: list[ReplayBuffer]) -> None:
        same = [np.array_equal(got, expected) for got, expected in zip(batches(held[0]), want, strict=True)]
        held.clear()
        answers.put(all(same))

    held = [buffer]
    del buffer
    child = context.Process(target=read, args=(held,))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert answers.get()
