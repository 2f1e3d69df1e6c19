"""What a local sweep shows: a table that is kept up to date on a terminal, plain lines elsewhere."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text


class View:
    """Writes to stderr; a context manager. rich honours NO_COLOR and TERM=dumb."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._live: Live | None = None
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def live(self) -> bool:
        """Whether there is a table to keep up to date."""
        return self._live is not None

    def show(self, title: str, rows: Sequence[Sequence[str]]) -> None:
        """Put a header and rows in place of the table before."""
        if self._live is not None:
            self._live.update(Group(Text(title), rich_table(rows)), refresh=True)

    def line(self, text: str) -> None:
        """A line that stays."""
        self.console.print(Text(text), soft_wrap=True)


def rich_table(rows: Sequence[Sequence[str]]) -> Table:
    """A header and rows as a table for a terminal."""
    header, *body = rows
    table = Table(*(escape(cell) for cell in header), box=None, pad_edge=False)
    for row in body:
        table.add_row(*(Text(cell) for cell in row))
    return table
