"""The signals that tell a run or a sweep to save itself and stop."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

STOP_CODES = {signal.SIGINT: 130, signal.SIGTERM: 75, signal.SIGUSR1: 75}
"""Ctrl-C, and the two by which schedulers say that time is up (75: saved, run the same command to go on)."""


class Stopped(BaseException):
    """A signal has come in the middle of what `StopSignals.at_once` runs."""


class StopSignals:
    """While it is entered the first signal is noted, and a second Ctrl-C ends the process at once.

    Schedulers send several signals one after the other, and to all processes: no other one changes anything.
    """

    def __init__(self, on_first: Callable[[], None] = lambda: None) -> None:
        self.noted: signal.Signals | None = None
        self._on_first = on_first
        self._interrupts = 0
        self._raises = False

    def __enter__(self) -> "StopSignals":
        self._before = {number: signal.signal(number, self._note) for number in STOP_CODES}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """Of a process that stops because of the noted signal; 0 without one."""
        return STOP_CODES[self.noted] if self.noted is not None else 0

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Around work that is not worth its end: a signal, or one noted before, raises `Stopped`."""
        self._raises = True
        try:
            if self.noted is not None:
                raise Stopped
            yield
        finally:
            self._raises = False

    def _note(self, number: int, _frame: object) -> None:
        self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            raise KeyboardInterrupt
        if self.noted is None:
            self.noted = signal.Signals(number)
            self._on_first()
        if self._raises:
            self._raises = False
            raise Stopped
