"""Progress: plain lines into a file, a live bar on a terminal, colours only where wanted."""

import io

import pytest
from rich.console import Console

from mbpo_fast.config import load_config
from mbpo_fast.training import progress as progress_module
from mbpo_fast.training.progress import Progress, clock

CONFIG = load_config([], {"env.id": "Catch", "training.total_steps": "1000"})


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(progress_module, "time", fake)
    return fake


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_plain_lines(time: Clock) -> None:
    console = Console(file=io.StringIO(), width=40)
    with Progress(CONFIG, start=100, console=console) as progress:
        for step in (200, 300, 500):
            time.now += 5
            score = {"rollout/ep_rew_mean": float(step)} if step > 200 else {}
            progress.update(step, {"data/synthetic_share": 0.5, **score}, "shut: no model yet")
        time.now += 1
        progress.update(1000, {}, "open")
    assert shown(console).splitlines() == [
        "Catch seed 0: 1,000 steps, going on from step 100",
        "      200 / 1,000  no game over yet  20 steps/s  40 s left  gate shut: no model yet  50% synthetic",
        "      500 / 1,000  score 500.0  27 steps/s  19 s left  gate shut: no model yet  50% synthetic",
        "    1,000 / 1,000  score 500.0  56 steps/s  0 s left  gate open",
    ]


def test_a_long_fit_of_the_model_is_shown(time: Clock) -> None:
    console = Console(file=io.StringIO())
    with Progress(CONFIG, console=console) as progress:
        for updates in (100, 200, 300, 400):
            progress.fitting(updates, 1000)
            time.now += 6
    assert shown(console).splitlines()[1:] == [
        "            world model: 100 of 1,000 updates",
        "            world model: 300 of 1,000 updates",
    ]


def test_without_a_model_nothing_is_said_about_it(time: Clock) -> None:
    console = Console(file=io.StringIO())
    with Progress(CONFIG, console=console) as progress:
        progress.update(0, {"data/synthetic_share": 0.0}, "no model")
    assert shown(console).splitlines()[1:] == ["        0 / 1,000  no game over yet  no model"]


@pytest.mark.parametrize(("no_color", "colored"), [(None, True), ("1", False)])
def test_a_live_bar_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, time: Clock, no_color: str | None, colored: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", no_color)
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with Progress(CONFIG, console=console) as progress:
        time.now += 5
        progress.update(500, {"rollout/ep_rew_mean": 12.5}, "[red]open")
    assert " 50%" in shown(console)
    assert "score 12.5" in shown(console)
    assert "[red]open" in shown(console)
    assert ("38;" in shown(console)) is colored


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    console = Console(file=io.StringIO(), force_terminal=True)
    assert not Progress(CONFIG, console=console).live


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (45.4, "45 s"),
        (99.4, "99 s"),
        (100, "2 min"),
        (3540, "59 min"),
        (6060, "1 h 41 min"),
        (90_000, "25 h 00 min"),
        (190_000, "2 d 4 h"),
    ],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
