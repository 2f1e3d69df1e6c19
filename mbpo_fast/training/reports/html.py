"""The page around everything: its head, tiles, tables, and how it is written."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

PAGE_BYTES = 5_000_000
"""No page is larger, as far as leaving videos out can help."""
DOT = " \u00b7 "


def write_page(target: Path, title: str, body: str) -> Path:
    """Write a page with this title and body as a whole; returns the file."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>\n{style}</style></head>"
        f"\n<body>\n{body}\n</body></html>\n"
    )
    aside = target.with_name(f".tmp-{target.name}")
    try:
        aside.write_text(page, encoding="utf-8")
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
    return target


def header(title: str, line: str) -> str:
    """The page's first lines."""
    return f'<header><h1>{escape(title)}</h1><p class="soft">{escape(line)}</p></header>'


def tiles(rows: Sequence[tuple[str, ...]], kinds: Sequence[str] = ()) -> str:
    """A row of figures: (label, value, notes...); `kinds` are classes of the tiles."""
    cells = [
        f'<div class="tile{f" {kinds[index]}" if kinds else ""}"><span>{escape(label)}</span>'
        f"<b>{escape(value)}</b>{''.join(f'<small>{escape(note)}</small>' for note in notes)}</div>"
        for index, (label, value, *notes) in enumerate(rows)
    ]
    return f'<section class="tiles">{"".join(cells)}</section>'


def note(text: str) -> str:
    """Small print."""
    return f'<p class="soft note">{escape(text)}</p>' if text else ""


def section(heading: str, *parts: str) -> str:
    """A part of the page; nothing when all its parts are empty."""
    content = "".join(parts)
    return f"<section><h2>{escape(heading)}</h2>{content}</section>" if content else ""


def cards(figures: Sequence[str], kind: str = "") -> str:
    """Figures side by side as far as the page is wide, `kind` a class more; nothing without figures."""
    content = "".join(figures)
    return f'<div class="{f"charts {kind}".strip()}">{content}</div>' if content else ""


def table(head: Sequence[str], rows: Sequence[str], kind: str = "") -> str:
    """A table that scrolls by itself where the page is narrow; the rows are HTML, `kind` a class."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f'<div class="box"><table{_class(kind)}><tr>{cells}</tr>{"".join(rows)}</table></div>'


def row(cells: Sequence[str], kind: str = "") -> str:
    """A table's row of plain texts."""
    content = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f"<tr{_class(kind)}>{content}</tr>"


def score_text(value: float) -> str:
    """A score: one digit after the point, two where scores are small; no minus before nothing."""
    text = f"{value:,.2f}" if abs(value) < 10 else f"{value:,.1f}"
    return "0.00" if text == "-0.00" else text


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
