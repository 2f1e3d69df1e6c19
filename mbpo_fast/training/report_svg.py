"""Small line charts and bars as inline SVG; colours come from the page's style sheet."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

Points = list[tuple[float, float]]

WIDTH, HEIGHT = 400, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 18, 10, 34
MAX_POINTS = 200
"""More points than this are averaged in groups: no screen shows them apart."""


@dataclass(frozen=True)
class Series:
    """One line: (step, value) points in order; `dots` draws points only."""

    name: str
    points: Points
    dots: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart over agent steps. `shaded` are step intervals with a meaning that `shade_name` says."""

    title: str
    unit: str
    series: Sequence[Series]
    level: tuple[str, float] | None = None
    shaded: Sequence[tuple[float, float]] = ()
    shade_name: str = ""
    from_zero: bool = True
    top: float | None = None


@dataclass(frozen=True)
class _Scale:
    """Data to picture coordinates."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x_ticks: list[float]
    y_ticks: list[float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def chart_svg(chart: Chart) -> str:
    """A figure with title, legend and picture; nothing when there is no point at all."""
    series = [Series(s.name, _thinned(s.points), s.dots) for s in chart.series if s.points]
    if not series:
        return ""
    scale = _scale(chart, series)
    parts = [_shade(scale, *interval) for interval in chart.shaded]
    parts += _axes(scale, "agent steps")
    if chart.level is not None:
        y = scale.y(chart.level[1])
        parts.append(f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
    for index, line in enumerate(series):
        parts += _line(scale, line, index + 1, chart.unit)
    return _figure(chart.title, chart.unit, _legend(chart, series), parts)


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
    scale = _Scale((edges[0], edges[-1]), (0.0, y_ticks[-1]), x_ticks, y_ticks)
    parts = _axes(scale, "score")
    for index, (name, _) in enumerate(groups):
        parts += _columns(scale, edges, counts[index], index + 1, name)
    names = [f'<li class="k{index + 1}">{escape(name)}</li>' for index, (name, _) in enumerate(groups)]
    return _figure(title, unit, f'<ul class="legend">{"".join(names)}</ul>', parts)


def _counts(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """Values in each bin; the last bin holds its upper edge too."""
    counts = [0] * (len(edges) - 1)
    for value in values:
        place = int((value - edges[0]) / (edges[1] - edges[0]))
        counts[min(max(place, 0), len(counts) - 1)] += 1
    return counts


def _columns(
    scale: _Scale, edges: Sequence[float], counts: Sequence[int], color: int, name: str
) -> Iterator[str]:
    for (begin, end), count in zip(pairwise(edges), counts, strict=True):
        if count:
            left, right, top = scale.x(begin) + 1, scale.x(end) - 1, scale.y(count)
            place = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{scale.y(0) - top:.1f}"'
            tip = f"{name}: {count} games from {number(begin)} to {number(end)}"
            yield f'<rect class="column f{color}" {place}><title>{escape(tip)}</title></rect>'


def _figure(title: str, unit: str, legend: str, parts: Sequence[str]) -> str:
    return (
        f"<figure><figcaption><b>{escape(title)}</b> <span>{escape(unit)}</span>{legend}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{title}, {unit}")}">'
        f"{''.join(parts)}</svg></figure>"
    )


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
    return (
        f"<figure><figcaption><b>{escape(title)}</b> <span>{escape(unit)}</span></figcaption>"
        f'<dl class="bars">{bars}</dl></figure>'
    )


def number(value: float) -> str:
    """A short number for an axis or a tooltip: 0.25, 40, 12k, 1.5M, 3e-5."""
    size = abs(value)
    for limit, unit in ((1e6, "M"), (1e4, "k")):
        if size >= limit:
            return f"{value / (1e6 if unit == 'M' else 1e3):.4g}{unit}"
    if size and size < 1e-3:
        mantissa, exponent = f"{value:.2g}".split("e") if "e" in f"{value:.2g}" else (f"{value:.2g}", "")
        return f"{mantissa}e{int(exponent)}" if exponent else mantissa
    return f"{value:.4g}"


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round values from at or below `low` to at or above `high`."""
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def _scale(chart: Chart, series: Sequence[Series]) -> _Scale:
    xs = [x for line in series for x, _ in line.points]
    ys = [y for line in series for _, y in line.points]
    if chart.level is not None:
        ys.append(chart.level[1])
    low, high = min(ys), max(ys)
    if chart.from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if chart.top is not None:
        high = max(high, chart.top)
    if high - low < 1e-12 * max(1.0, abs(high)):
        low, high = low - (0.0 if chart.from_zero and low == 0 else 1.0), high + 1.0
    y_ticks = ticks(low, high, 4)
    x_high = max(max(xs), 1.0)
    x_ticks = [x for x in ticks(0.0, x_high, 4) if x <= x_high]
    return _Scale((0.0, x_high), (y_ticks[0], y_ticks[-1]), x_ticks, y_ticks)


def _axes(scale: _Scale, x_name: str) -> list[str]:
    parts = []
    for value in scale.y_ticks:
        y = scale.y(value)
        parts += [
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
            f'<text class="y" x="{LEFT - 6}" y="{y + 4:.1f}">{number(value)}</text>',
        ]
    below = HEIGHT - BOTTOM + 16
    parts += [
        f'<text class="x" x="{scale.x(value):.1f}" y="{below}">{number(value)}</text>'
        for value in scale.x_ticks
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    return [*parts, f'<text class="x" x="{middle}" y="{HEIGHT - 3}">{x_name}</text>']


def _line(scale: _Scale, line: Series, color: int, unit: str) -> list[str]:
    """The line, and a tooltip on each of its points; dots where a line would not show."""
    places = [(scale.x(x), scale.y(y)) for x, y in line.points]
    parts = []
    if not line.dots and len(places) > 1:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="c{color}" points="{path}"/>')
    kind = f"dot f{color}" if line.dots or len(places) == 1 else "tip"
    for (x, y), (step, value) in zip(places, line.points, strict=True):
        tip = f"{line.name}: {number(value)} {unit}, step {step:,.0f}"
        parts.append(
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{escape(tip)}</title></circle>'
        )
    return parts


def _shade(scale: _Scale, begin: float, end: float) -> str:
    left, right = scale.x(begin), min(scale.x(end), WIDTH - RIGHT)
    size = f'width="{right - left:.1f}" height="{HEIGHT - TOP - BOTTOM}"'
    return f'<rect class="shade" x="{left:.1f}" y="{TOP}" {size}/>'


def _legend(chart: Chart, series: Sequence[Series]) -> str:
    """Names with their last values, where there is more than one thing to tell apart."""
    entries = [
        f'<li class="k{index + 1}">{escape(line.name)} <em>{number(line.points[-1][1])}</em></li>'
        for index, line in enumerate(series)
    ]
    if chart.level is not None:
        entries.append(f'<li class="klevel">{escape(chart.level[0])} <em>{number(chart.level[1])}</em></li>')
    if chart.shaded:
        entries.append(f'<li class="kshade">{escape(chart.shade_name)}</li>')
    return f'<ul class="legend">{"".join(entries)}</ul>'


def _thinned(points: Points) -> Points:
    """At most MAX_POINTS points: means of neighbours."""
    if len(points) <= MAX_POINTS:
        return points
    size = math.ceil(len(points) / MAX_POINTS)
    groups = (points[i : i + size] for i in range(0, len(points), size))
    return [(group[-1][0], math.fsum(y for _, y in group) / len(group)) for group in groups]
