"""What a process notes when it is told to stop, and what makes it give up at once."""

import os
import signal

import pytest

from mbpo_fast.training.stop_signals import STOP_CODES, Stopped, StopSignals


@pytest.fixture(autouse=True)
def _ctrl_c() -> object:
    # A process that a shell started in the background ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def send(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", STOP_CODES)
def test_the_first_signal_is_noted_and_the_handlers_come_back(number: signal.Signals) -> None:
    called = []
    before = {each: signal.getsignal(each) for each in STOP_CODES}
    with StopSignals(lambda: called.append(number)) as signals:
        assert (signals.noted, signals.exit_code) == (None, 0)
        send(number)
        assert (signals.noted, signals.exit_code) == (number, STOP_CODES[number])
    assert called == [number]
    assert {each: signal.getsignal(each) for each in STOP_CODES} == before


def test_only_a_second_ctrl_c_ends_the_process() -> None:
    with StopSignals() as signals:
        send(signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM, signal.SIGINT)
        assert signals.noted == signal.SIGUSR1
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_work_that_is_not_worth_its_end_is_left() -> None:
    with StopSignals() as signals:
        with signals.at_once():
            pass
        with pytest.raises(Stopped), signals.at_once():
            send(signal.SIGTERM)
        with pytest.raises(Stopped), signals.at_once():
            pytest.fail("it had been told to stop before")
        send(signal.SIGTERM)
