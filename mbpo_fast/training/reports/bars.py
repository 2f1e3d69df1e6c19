"""Histograms, bars, and dots beside their mean."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from mbpo_fast.training.reports.svg import (
    BOTTOM,
    LEFT,
    TOP,
    WIDTH,
    Scale,
    axes,
    caption,
    color,
    figure,
    legend_list,
    number,
    ticks,
    x_axis,
)

_ROW = 42


@dataclass(frozen=True)
class DotRow:
    """Named dots, their mean, and an interval of it if there is one."""

    name: str
    dots: Sequence[tuple[str, float]]
    mean: float
    interval: tuple[float, float] | None
    paint: int


def dots_svg(title: str, unit: str, rows: Sequence[DotRow], level: tuple[str, float] | None = None) -> str:
    """A line of dots for each row with its mean as a bar across; nothing without rows."""
    if not rows:
        return ""
    values = [value for row in rows for _, value in row.dots]
    values += [limit for row in rows for limit in row.interval or ()] + ([level[1]] if level else [])
    low, high = min(*values, 0.0), max(values)
    x_ticks = ticks(low, max(high, low + 1e-6), 4)
    height = max(_ROW * len(rows) + TOP + BOTTOM, 170)
    scale = Scale((x_ticks[0], x_ticks[-1]), (0.0, 1.0), x_ticks, [], WIDTH, height)
    floor = height - BOTTOM
    parts = [
        f'<line class="grid" x1="{scale.x(x):.1f}" x2="{scale.x(x):.1f}" y1="{TOP}" y2="{floor}"/>'
        for x in x_ticks
    ] + x_axis(scale, unit)
    if level is not None:
        x = scale.x(level[1])
        parts.append(f'<line class="level" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{floor}"/>')
    for index, row in enumerate(rows):
        parts += _dot_row(scale, row, TOP + (index + 0.5) * (floor - TOP) / len(rows))
    entries = [("klevel", level[0], number(level[1]))] if level else []
    return figure(title, "mean of each seed, and over seeds", legend_list(entries), parts, (WIDTH, height))


def _dot_row(scale: Scale, row: DotRow, middle: float) -> Iterator[str]:
    y = middle + 6
    tip = f"{row.name}: {number(row.mean)}"
    if row.interval is not None:
        low, high = (scale.x(limit) for limit in row.interval)
        yield f'<line class="span c{row.paint}" x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        tip += f" ({number(row.interval[0])} to {number(row.interval[1])})"
    yield f'<text class="rowname" x="{LEFT}" y="{middle - 8:.1f}">{escape(row.name)}</text>'
    x = scale.x(row.mean)
    yield (
        f'<line class="mean c{row.paint}" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 9:.1f}" y2="{y + 9:.1f}">'
        f"<title>{escape(tip)}</title></line>"
    )
    for name, value in row.dots:
        yield (
            f'<circle class="seed f{row.paint}" cx="{scale.x(value):.1f}" cy="{y:.1f}" r="4.5">'
            f"<title>{escape(f'{name}: {number(value)}')}</title></circle>"
        )


def histogram_svg(title: str, unit: str, groups: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Counts of up to three groups of values in common bins; nothing without values."""
    values = [value for _, group in groups for value in group]
    if not values:
        return ""
    low, high = min(values), max(values)
    edges = ticks(low, max(high, low + 1e-6 * max(1.0, abs(low))), 16)
    counts = [_counts(group, edges) for _, group in groups]
    y_ticks = ticks(0.0, max(map(max, counts)), 4)
    x_ticks = [x for x in ticks(edges[0], edges[-1], 4) if edges[0] <= x <= edges[-1]]
    scale = Scale((edges[0], edges[-1]), (0.0, y_ticks[-1]), x_ticks, y_ticks)
    parts = axes(scale, "score")
    for index, (name, _) in enumerate(groups):
        parts += _columns(scale, edges, counts[index], color(index), name)
    legend = legend_list([(f"k{color(index)}", name, "") for index, (name, _) in enumerate(groups)])
    return figure(title, unit, legend, parts)


def _counts(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """Values in each bin; the last bin holds its upper edge too."""
    counts = [0] * (len(edges) - 1)
    for value in values:
        place = int((value - edges[0]) / (edges[1] - edges[0]))
        counts[min(max(place, 0), len(counts) - 1)] += 1
    return counts


def _columns(
    scale: Scale, edges: Sequence[float], counts: Sequence[int], paint: int, name: str
) -> Iterator[str]:
    for (begin, end), count in zip(pairwise(edges), counts, strict=True):
        if count:
            left, right, top = scale.x(begin) + 1, scale.x(end) - 1, scale.y(count)
            place = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{scale.y(0) - top:.1f}"'
            tip = f"{name}: {count} games from {number(begin)} to {number(end)}"
            yield f'<rect class="column f{paint}" {place}><title>{escape(tip)}</title></rect>'


def bars_html(title: str, unit: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """Horizontal bars of (name, value, text beside it); nothing without rows."""
    if not rows:
        return ""
    longest = max(value for _, value, _ in rows) or 1.0
    bars = "".join(
        f'<dt>{escape(name)}</dt><dd><i style="width:{100 * value / longest:.1f}%"></i>'
        f"<span>{escape(text)}</span></dd>"
        for name, value, text in rows
    )
    return f'<figure>{caption(title, unit)}<dl class="bars">{bars}</dl></figure>'
