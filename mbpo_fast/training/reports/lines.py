"""Line charts as inline SVG, with bands, and names beside the lines where there are several arms."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from mbpo_fast.training.reports.svg import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Points,
    Scale,
    axes,
    color,
    figure,
    legend_list,
    number,
    ticks,
)

MAX_POINTS = 200
"""More points than this are averaged in groups: no screen shows them apart."""
_LABEL_GAP = 13.0


@dataclass(frozen=True)
class Series:
    """One line: (x, value) points in order; `dots` draws points only.

    `band` holds (x, low, high) of an interval around it; `faint` lines have no key and no tooltips on
    points; `end` is a word drawn where the line ends; `paint` is the colour's number (default: by order).
    """

    name: str
    points: Points
    dots: bool = False
    band: Sequence[tuple[float, float, float]] = ()
    faint: bool = False
    end: str = ""
    paint: int | None = None


@dataclass(frozen=True)
class Chart:
    """A chart, by default over agent steps. `shaded` are intervals with a meaning that `shade_name` says."""

    title: str
    unit: str
    series: Sequence[Series]
    level: tuple[str, float] | None = None
    shaded: Sequence[tuple[float, float]] = ()
    shade_name: str = ""
    from_zero: bool = True
    top: float | None = None
    x_name: str = "agent steps"
    legend: bool = True


def chart_svg(chart: Chart, size: tuple[int, int] = (WIDTH, HEIGHT)) -> str:
    """A figure with title, legend and picture; nothing when there is no point at all."""
    series = [line for line in chart.series if line.points]
    if not series:
        return ""
    paints = [color(index) if line.paint is None else line.paint for index, line in enumerate(series)]
    lines = [_thinned(line.points) for line in series]
    scale = _scale(chart, series, lines, size)
    parts = [_shade(scale, *interval) for interval in chart.shaded] + axes(scale, chart.x_name)
    if chart.level is not None:
        y = scale.y(chart.level[1])
        parts.append(f'<line class="level" x1="{LEFT}" x2="{scale.end}" y1="{y:.1f}" y2="{y:.1f}"/>')
    parts += [_band(scale, line, paint) for line, paint in zip(series, paints, strict=True)]
    for line, points, paint in sorted(
        zip(series, lines, paints, strict=True), key=lambda item: not item[0].faint
    ):
        parts += (
            _faint(scale, line, points, paint) if line.faint else _line(scale, chart, line, points, paint)
        )
    parts += _ends(scale, series, paints)
    legend = _legend(chart, series, paints) if chart.legend else ""
    return figure(chart.title, chart.unit, legend, parts, size)


def _scale(chart: Chart, series: Sequence[Series], lines: Sequence[Points], size: tuple[int, int]) -> Scale:
    xs = [x for points in lines for x, _ in points]
    ys = [y for points in lines for _, y in points]
    ys += [limit for line in series for _, *limits in line.band for limit in limits]
    if chart.level is not None:
        ys.append(chart.level[1])
    low, high = min(ys), max(ys)
    if chart.from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if chart.top is not None:
        high = max(high, chart.top)
    if high - low < 1e-12 * max(1.0, abs(high)):
        low, high = low - (0.0 if chart.from_zero and low == 0 else 1.0), high + 1.0
    y_ticks = ticks(low, high, 4 if size[1] <= HEIGHT else 6)
    x_high = max(xs) if max(xs) > 0 else 1.0
    x_ticks = [x for x in ticks(0.0, x_high, 4 if size[0] <= WIDTH else 8) if x <= x_high]
    right = max(RIGHT, *(round(_text_width(line.end)) for line in series))
    return Scale((0.0, x_high), (y_ticks[0], y_ticks[-1]), x_ticks, y_ticks, *size, right)


def _text_width(text: str) -> float:
    """About what a bold name takes beside a line; nothing for no name."""
    return 10 + sum(9.5 if letter.isupper() else 7.2 for letter in text) if text else 0.0


def _place(scale: Scale, points: Points) -> str:
    return " ".join(f"{scale.x(x):.1f},{scale.y(y):.1f}" for x, y in points)


def _line(scale: Scale, chart: Chart, line: Series, points: Points, paint: int) -> list[str]:
    """The line, and a tooltip on each of its points; dots where a line would not show."""
    parts = []
    if not line.dots and len(points) > 1:
        parts.append(f'<polyline class="c{paint}" points="{_place(scale, points)}"/>')
    kind = f"dot f{paint}" if line.dots or len(points) == 1 else "tip"
    limits = {x: f" ({number(low)} to {number(high)})" for x, low, high in line.band}
    for x, value in points:
        where = f"step {x:,.0f}" if chart.x_name == "agent steps" else f"{number(x)} {chart.x_name}"
        tip = escape(f"{line.name}: {number(value)} {chart.unit}{limits.get(x, '')}, {where}")
        parts.append(
            f'<circle class="{kind}" cx="{scale.x(x):.1f}" cy="{scale.y(value):.1f}" r="3">'
            f"<title>{tip}</title></circle>"
        )
    return parts


def _faint(scale: Scale, line: Series, points: Points, paint: int) -> list[str]:
    name = f"<title>{escape(line.name)}</title>"
    if len(points) == 1:
        x, y = scale.x(points[0][0]), scale.y(points[0][1])
        return [f'<circle class="faint f{paint}" cx="{x:.1f}" cy="{y:.1f}" r="2.5">{name}</circle>']
    return [f'<polyline class="faint c{paint}" points="{_place(scale, points)}">{name}</polyline>']


def _band(scale: Scale, line: Series, paint: int) -> str:
    if len(line.band) < 2:
        return ""
    above = [(x, high) for x, _, high in line.band]
    below = [(x, low) for x, low, _ in reversed(line.band)]
    return f'<polygon class="band f{paint}" points="{_place(scale, above + below)}"/>'


def _ends(scale: Scale, series: Sequence[Series], paints: Sequence[int]) -> list[str]:
    """Names at the right of the lines, moved apart where they would lie on one another."""
    named = [(line, paint) for line, paint in zip(series, paints, strict=True) if line.end]
    wanted = [scale.y(line.points[-1][1]) for line, _ in named]
    places = spread(wanted, _LABEL_GAP, TOP + 4, scale.height - BOTTOM)
    return [
        f'<text class="end t{paint}" x="{scale.x(line.points[-1][0]) + 6:.1f}" y="{y + 4:.1f}">'
        f"{escape(line.end)}</text>"
        for (line, paint), y in zip(named, places, strict=True)
    ]


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places near the wanted ones, in their order, at least `gap` apart and, if there is room, in range."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    places = [0.0] * len(wanted)
    last = -math.inf
    for index in order:
        last = places[index] = max(wanted[index], last + gap, low)
    edge = high
    for index in reversed(order):
        places[index] = min(places[index], edge)
        edge = places[index] - gap
    return places


def _shade(scale: Scale, begin: float, end: float) -> str:
    left, right = scale.x(begin), min(scale.x(end), scale.end)
    size = f'width="{right - left:.1f}" height="{scale.height - TOP - BOTTOM}"'
    return f'<rect class="shade" x="{left:.1f}" y="{TOP}" {size}/>'


def _legend(chart: Chart, series: Sequence[Series], paints: Sequence[int]) -> str:
    """Names with their last values."""
    entries = [
        (f"k{paint}", line.name, number(line.points[-1][1]))
        for line, paint in zip(series, paints, strict=True)
        if not line.faint
    ]
    if chart.level is not None:
        entries.append(("klevel", chart.level[0], number(chart.level[1])))
    if chart.shaded:
        entries.append(("kshade", chart.shade_name, ""))
    return legend_list(entries)


def _thinned(points: Points) -> Points:
    """At most MAX_POINTS points: means of neighbours."""
    if len(points) <= MAX_POINTS:
        return points
    size = math.ceil(len(points) / MAX_POINTS)
    groups = (points[i : i + size] for i in range(0, len(points), size))
    return [(group[-1][0], math.fsum(y for _, y in group) / len(group)) for group in groups]
