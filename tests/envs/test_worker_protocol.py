"""The protocol of a pool and its workers, with threads in place of processes: every line can be traced."""

import contextlib
import mmap
import os
import socket
import threading
from multiprocessing.connection import Connection

import numpy as np
import pytest

from mbpo_fast.envs import make_vec, pool, worker


class ThreadAsProcess:
    """What a pool asks of a process, of a thread."""

    pid = 0

    def __init__(self, thread):
        self.thread = thread

    def wait(self, timeout=None):
        self.thread.join(timeout)
        return 0


@pytest.fixture
def threads(monkeypatch):
    """Workers are threads; returns the list of those that were started."""
    started = []

    def start(memory_file):
        ours, theirs = socket.socketpair()
        memory = mmap.mmap(memory_file, 0)

        def serve():
            with Connection(theirs.detach()) as connection, contextlib.suppress(EOFError, ConnectionError):
                worker._serve(connection, memory, os.getppid())

        thread = threading.Thread(target=serve)
        thread.start()
        started.append(thread)
        return Connection(ours.detach()), ThreadAsProcess(thread)

    monkeypatch.setattr(pool, "_start_worker", start)
    return started


@pytest.mark.parametrize("caller_plays", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_threads_play_what_one_thread_plays(threads, workers, caller_plays):
    alone = make_vec("Catch", 4, seed=3)
    shared = make_vec("Catch", 4, seed=3, workers=workers, caller_plays=caller_plays)
    assert len(threads) == (workers - caller_plays if workers > 1 or not caller_plays else 0)
    for env in (alone, shared):
        env.reset(seed=3)
    actions = np.random.default_rng(0).integers(0, 3, (200, 4))
    for t, action in enumerate(actions):
        expected, got = alone.step(action), shared.step(action)
        for ours, theirs in zip(got[:4], expected[:4], strict=True):
            assert np.array_equal(ours, theirs)
        if t == 100:
            shared.set_state(alone.get_state())
    shared.close()
    assert not any(thread.is_alive() for thread in threads), "the end of the stream ends a worker"


def test_an_error_in_a_worker_comes_with_its_text_and_ends_the_pool(threads):
    env = make_vec("Catch", 2, workers=2)
    env.reset()
    with pytest.raises(RuntimeError, match=r"(?s)\[set_state\] environment worker 0.*failed.*KeyError"):
        env._group.set_state({})
    assert not any(thread.is_alive() for thread in threads)
    with pytest.raises(RuntimeError, match="expected running workers"):
        env.step([0, 0])


def test_an_unknown_verb_is_an_error_and_the_worker_goes_on(threads):
    env = make_vec("Catch", 1, workers=1)
    connection = env._group._connections[0]
    for verb in ("jump", "step"):
        os.write(connection.fileno(), worker.MESSAGE)
        connection.send((verb, ()))
        assert os.read(connection.fileno(), 1) == (worker.MESSAGE if verb == "jump" else worker.DONE)
        if verb == "jump":
            status, text = connection.recv()
            assert status == "error"
            assert "KeyError: 'jump'" in text
    env.close()
