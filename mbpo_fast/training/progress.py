"""What a run shows while it trains: a live bar on a terminal, plain lines elsewhere."""

import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from mbpo_fast.config.schema import Config

LINE_SECONDS = 10.0
"""Plain lines come no faster than this, so that the log of a long job stays readable."""
SPEED_WINDOW = 20
"""Updates over which the speed is measured."""


class Progress:
    """Shows step, score, speed, time left, gate and synthetic share on stderr; a context manager.

    `start` is the step that the run goes on from. rich honours NO_COLOR and TERM=dumb.
    """

    def __init__(self, config: Config, start: int = 0, console: Console | None = None) -> None:
        self.total = config.training.total_steps
        self.console = console or Console(stderr=True)
        self.live = self.console.is_terminal and not self.console.is_dumb_terminal
        self._points: deque[tuple[float, int]] = deque([(time.monotonic(), start)], maxlen=SPEED_WINDOW)
        self._last_line = -LINE_SECONDS
        self._title = f"{config.env.id} seed {config.seed}"
        self._bar: RichProgress | None = None
        self._task = TaskID(0)
        self._start = start
        self._score: float | None = None

    def __enter__(self) -> Self:
        if self.live:
            self._bar = RichProgress(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn(
                    "{task.fields[line]}",
                    markup=False,
                    table_column=Column(no_wrap=True, overflow="ellipsis"),
                ),
                console=self.console,
            )
            self._task = self._bar.add_task(self._title, total=self.total, completed=self._start, line="")
            self._bar.start()
        else:
            going_on = f", going on from step {self._start:,}" if self._start else ""
            self._print(f"{self._title}: {self.total:,} steps{going_on}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, metrics: Mapping[str, float], gate: str) -> None:
        """Show a line of metrics (logger tags) and the gate's verdict."""
        now = time.monotonic()
        self._points.append((now, step))
        self._score = metrics.get("rollout/ep_rew_mean", self._score)
        line = self._line(step, metrics, gate)
        if self._bar is not None:
            self._bar.update(self._task, completed=step, line=line)
        elif now - self._last_line >= LINE_SECONDS or step >= self.total:
            self._last_line = now
            self._print(f"{step:>9,} / {self.total:,}  {line}")

    def fitting(self, updates: int, budget: int) -> None:
        """Show how far a fit of the world model is."""
        now = time.monotonic()
        line = f"world model: {updates:,} of {budget:,} updates"
        if self._bar is not None:
            self._bar.update(self._task, line=line)
        elif now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self._print(f"{'':>9}   {line}")

    def _line(self, step: int, metrics: Mapping[str, float], gate: str) -> str:
        parts = ["no game over yet" if self._score is None else f"score {self._score:.1f}"]
        speed = self._speed()
        if speed > 0:
            left = clock(max(0, self.total - step) / speed)
            parts += [f"{speed:,.0f} steps/s", f"{left} left"]
        parts.append(gate if gate == "no model" else f"gate {gate}")
        share = metrics.get("data/synthetic_share")
        if share is not None and gate != "no model":
            parts.append(f"{share:.0%} synthetic")
        return "  ".join(parts)

    def _speed(self) -> float:
        (first, from_step), (last, to_step) = self._points[0], self._points[-1]
        return (to_step - from_step) / (last - first) if last > first else 0.0

    def say(self, line: str) -> None:
        """A line of its own beside the progress."""
        self._print(line)

    def _print(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)


def clock(seconds: float) -> str:
    """Seconds as 45 s, 12 min, 3 h 05 min or 2 d 4 h."""
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"
