"""Lanes in several processes: commands over sockets, rows in shared memory without a name.

The calling process can be one of them: it plays its share while the others play theirs.

Workers are fresh interpreters that import only the environments. That needs no `__main__` guard in a script,
forks no process with threads or a GPU context, and leaves nothing behind: the memory is anonymous.
"""

import contextlib
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from mbpo_fast.envs.game import State
from mbpo_fast.envs.lane import LaneGroup
from mbpo_fast.envs.settings import EnvSettings
from mbpo_fast.envs.slots import Slots
from mbpo_fast.envs.worker import DONE, MESSAGE, PARENTS_SIGNALS, STEP, Assignment

_CLOSE_TIMEOUT_S = 5.0
_STEP_MESSAGE: tuple[str, tuple[Any, ...]] = ("step", ())


class WorkerPool:
    """The verbs of `LaneGroup`, each carried out by all workers at once.

    A worker that dies or raises ends the pool: the call raises RuntimeError and every worker is stopped.
    """

    def __init__(
        self,
        env_id: str,
        settings: EnvSettings,
        num_envs: int,
        stack_shape: tuple[int, int, int],
        workers: int,
        seed: int,
        first_lane: int = 0,
        caller_plays: bool = False,
    ) -> None:
        shares = _share_out(num_envs, workers)
        own_rows = shares.pop(0) if caller_plays else None
        self._rows = shares
        file = _anonymous_file(Slots.nbytes(num_envs, stack_shape))
        try:
            self.slots = Slots(num_envs, stack_shape, mmap.mmap(file, 0))
            started = [_start_worker(file) for _ in self._rows]
        finally:
            os.close(file)
        self._connections = [connection for connection, _ in started]
        self._processes = [process for _, process in started]
        self._finalizer = weakref.finalize(self, _stop, os.getpid(), self._connections, self._processes)
        self._usable = True
        tasks = [
            Assignment(
                env_id, settings, num_envs, stack_shape, r.start, r.stop, seed, first_lane, caller_plays
            )
            for r in self._rows
        ]
        self._own: LaneGroup | None = None
        description = self._command("begin", [(task,) for task in tasks])[0]
        if own_rows is not None:
            self._own = LaneGroup(env_id, settings, own_rows, self.slots, seed, first_lane)
        self.action_meanings: tuple[str, ...] = description["action_meanings"]
        self.frame_skip: int = description["frame_skip"]

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [process.pid for process in self._processes]

    def reset(self, seed: int | None) -> None:
        """Reset every lane; with a seed, begin new games."""
        self._command("reset", [(seed,) for _ in self._rows], (seed,))

    def begin_step(self) -> None:
        """Let every lane step with the action of its row, and do not wait."""
        self._send_all("step", [() for _ in self._rows])

    def end_step(self) -> None:
        """Play the caller's share of the step that `begin_step` began, if it has one; wait for the others."""
        if self._own is not None:
            self._own.step()
        self._receive_all("step")

    def get_state(self) -> State:
        """Every lane's state under the lane's number."""
        states = self._command("get_state", [() for _ in self._rows])
        return {key: value for state in states for key, value in state.items()}

    def set_state(self, state: State) -> None:
        """Go on exactly where `get_state` was called, by however many workers."""
        lanes = [tuple(f"lane{row}." for row in rows) for rows in self._rows]
        parts = [{k: v for k, v in state.items() if k.startswith(prefixes)} for prefixes in lanes]
        self._command("set_state", [(part,) for part in parts], (state,))

    def close(self) -> None:
        """Stop the workers and wait for them; again does nothing."""
        self._usable = False
        self._finalizer()

    def _command(
        self, verb: str, arguments: Sequence[tuple[Any, ...]], own_argument: tuple[Any, ...] = ()
    ) -> list[Any]:
        self._send_all(verb, arguments)
        own = [] if self._own is None else [getattr(self._own, verb)(*own_argument)]
        return own + self._receive_all(verb)

    def _send_all(self, verb: str, arguments: Sequence[tuple[Any, ...]]) -> None:
        if not self._usable:
            raise RuntimeError(f"[{verb}] expected running workers, got a stopped or interrupted pool")
        # An exception from here on, Ctrl-C included, leaves answers unread: the pool cannot be used again.
        self._usable = False
        for worker, argument in enumerate(arguments):
            self._send(worker, (verb, argument))

    def _receive_all(self, verb: str) -> list[Any]:
        replies = [self._receive(verb, worker) for worker in range(len(self._rows))]
        self._usable = True
        return replies

    def _send(self, worker: int, message: tuple[str, tuple[Any, ...]]) -> None:
        connection = self._connections[worker]
        try:
            if message == _STEP_MESSAGE:
                os.write(connection.fileno(), STEP)
            else:
                os.write(connection.fileno(), MESSAGE)
                connection.send(message)
        except ConnectionError as error:
            raise self._death(message[0], worker) from error

    def _receive(self, verb: str, worker: int) -> Any:
        connection = self._connections[worker]
        try:
            if os.read(connection.fileno(), 1) == DONE:
                return None
            status, reply = connection.recv()
        except (EOFError, ConnectionError) as error:
            raise self._death(verb, worker) from error
        if status == "error":
            self.close()
            raise RuntimeError(f"[{verb}] {self._name(worker)} failed:\n{reply}")
        return reply

    def _death(self, verb: str, worker: int) -> RuntimeError:
        try:
            code: int | str = self._processes[worker].wait(_CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            code = "unknown"
        self.close()
        return RuntimeError(f"[{verb}] {self._name(worker)} died with exit code {code}")

    def _name(self, worker: int) -> str:
        rows = self._rows[worker]
        return f"environment worker {worker} (lanes {rows.start} to {rows.stop - 1})"


def _share_out(num_envs: int, workers: int) -> list[range]:
    cuts = [num_envs * worker // workers for worker in range(workers + 1)]
    return [range(cuts[worker], cuts[worker + 1]) for worker in range(workers)]


def _anonymous_file(nbytes: int) -> int:
    """A file descriptor of so many zero bytes that no path leads to; the caller closes it."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("mbpo_fast")
    else:
        with tempfile.TemporaryFile() as temporary:
            file = os.dup(temporary.fileno())
    os.ftruncate(file, nbytes)
    return file


def _start_worker(memory: int) -> tuple["Connection[Any, Any]", "subprocess.Popen[bytes]"]:
    ours, theirs = socket.socketpair()
    with theirs:
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from mbpo_fast.envs.worker import main; "
            f"main({theirs.fileno()}, {memory}, {os.getpid()})"
        )
        # The worker inherits them blocked, and unblocks them once it ignores them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, PARENTS_SIGNALS)
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(), memory)
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Connection(ours.detach()), process


def _stop(
    owner: int, connections: "list[Connection[Any, Any]]", processes: "list[subprocess.Popen[bytes]]"
) -> None:
    # A process forked from the owner inherits the finalizer, but the workers are not its own to stop.
    if os.getpid() != owner:
        return
    for connection in connections:
        # Shut down, not only closed: a process that the owner forked may hold the socket open.
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)
        connection.close()
    for process in processes:
        try:
            process.wait(_CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
