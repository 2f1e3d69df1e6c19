"""The process that plays some lanes for a `WorkerPool`: reads a command, writes shared rows, answers.

It lives no longer than its parent, and ignores the signals by which a parent is told to save and stop: saving
needs the workers.
"""

import mmap
import os
import select
import signal
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from mbpo_fast.envs.lane import LaneGroup
from mbpo_fast.envs.settings import EnvSettings
from mbpo_fast.envs.slots import Slots

# One byte is all that a step says either way: pickled messages would cost as much as a frame of the game.
STEP, DONE, MESSAGE = b"s", b"d", b"m"
_ORPHAN_CHECK_MS = 2000
_SPIN_S = 200e-6
_NICENESS = 5
PARENTS_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Assignment(NamedTuple):
    """What one worker plays: rows `first` to `last` - 1 of `num_envs`, row 0 being lane `first_lane`.

    `caller_plays`: the caller does nothing but play along, so the next command comes at once.
    """

    env_id: str
    settings: EnvSettings
    num_envs: int
    stack_shape: tuple[int, int, int]
    first: int
    last: int
    seed: int
    first_lane: int
    caller_plays: bool


def main(socket_fd: int, memory_fd: int, parent: int) -> None:
    """Serve commands until the stream ends or the parent dies."""
    for number in PARENTS_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PARENTS_SIGNALS)
    memory = mmap.mmap(memory_fd, 0)
    os.close(memory_fd)
    with Connection(socket_fd) as connection:
        try:
            _serve(connection, memory, parent)
        except (EOFError, ConnectionError):
            return


def _serve(connection: "Connection[Any, Any]", memory: mmap.mmap, parent: int) -> None:
    verbs: dict[str, Callable[..., Any]] = {}
    spin_s = 0.0

    def begin(task: Assignment) -> dict[str, Any]:
        nonlocal spin_s
        if task.caller_plays:
            spin_s = _SPIN_S
        else:
            # The caller computes meanwhile: a worker that wakes must not take its core.
            os.nice(_NICENESS)
        slots = Slots(task.num_envs, task.stack_shape, memory)
        rows = range(task.first, task.last)
        group = LaneGroup(task.env_id, task.settings, rows, slots, task.seed, task.first_lane)
        verbs.update(reset=group.reset, step=group.step, get_state=group.get_state, set_state=group.set_state)
        return {"action_meanings": group.action_meanings, "frame_skip": group.frame_skip}

    verbs["begin"] = begin
    stream = connection.fileno()
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    while _wait_for_command(poll, parent, spin_s):
        kind = os.read(stream, 1)
        verb, arguments = ("step", ()) if kind == STEP else connection.recv()
        try:
            reply = ("ok", verbs[verb](*arguments))
        except Exception:  # the parent raises it again, with this text
            reply = ("error", traceback.format_exc())
        if reply == ("ok", None):
            os.write(stream, DONE)
        else:
            os.write(stream, MESSAGE)
            connection.send(reply)


def _wait_for_command(poll: "select.poll", parent: int, spin_s: float) -> bool:
    """Block until there is something to read; False when the parent has died.

    The end of the stream is not enough: a process that the parent forked may hold its end of the socket open.
    For `spin_s` it asks without sleeping: in a loop that only steps, the next command is sooner there than a
    sleeper is awake.
    """
    give_up = time.perf_counter() + spin_s
    while time.perf_counter() < give_up:
        if poll.poll(0):
            return True
    while not poll.poll(_ORPHAN_CHECK_MS):
        if os.getppid() != parent:
            return False
    return True
