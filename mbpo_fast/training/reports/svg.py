"""What every picture of a report is made of: scale, axes, ticks, short numbers, the figure around it.

Colours come from the page's style sheet by class: `c1` to `c6` for lines, `f1` for areas, `k1` for keys.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Points = list[tuple[float, float]]

WIDTH, HEIGHT = 400, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 18, 10, 34
COLORS = 6


@dataclass(frozen=True)
class Scale:
    """Data to picture coordinates; `right` is the margin there."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x_ticks: Sequence[float]
    y_ticks: Sequence[float]
    width: int = WIDTH
    height: int = HEIGHT
    right: int = RIGHT

    @property
    def end(self) -> int:
        """Where the plotting area ends on the right."""
        return self.width - self.right

    def x(self, value: float) -> float:
        """Place of a value from left to right."""
        low, high = self.x_range
        return LEFT + (value - low) / (high - low) * (self.end - LEFT)

    def y(self, value: float) -> float:
        """Place of a value from the top down."""
        low, high = self.y_range
        return self.height - BOTTOM - (value - low) / (high - low) * (self.height - TOP - BOTTOM)


def color(index: int) -> int:
    """The colour's number of the thing with this index; colours come round again."""
    return index % COLORS + 1


def axes(scale: Scale, x_name: str) -> list[str]:
    """Grid lines, numbers on both axes and the name of the lower one."""
    parts = []
    for value in scale.y_ticks:
        y = scale.y(value)
        parts += [
            f'<line class="grid" x1="{LEFT}" x2="{scale.end}" y1="{y:.1f}" y2="{y:.1f}"/>',
            f'<text class="y" x="{LEFT - 6}" y="{y + 4:.1f}">{number(value)}</text>',
        ]
    return parts + x_axis(scale, x_name)


def x_axis(scale: Scale, x_name: str) -> list[str]:
    """Numbers along the lower axis and its name."""
    below = scale.height - BOTTOM + 16
    parts = [
        f'<text class="x" x="{scale.x(value):.1f}" y="{below}">{number(value)}</text>'
        for value in scale.x_ticks
    ]
    middle = (LEFT + scale.end) / 2
    return [*parts, f'<text class="x" x="{middle:g}" y="{scale.height - 3}">{escape(x_name)}</text>']


def figure(
    title: str, unit: str, legend: str, parts: Sequence[str], size: tuple[int, int] = (WIDTH, HEIGHT)
) -> str:
    """A card with title, unit, legend and picture."""
    return (
        f"<figure>{caption(title, unit, legend)}"
        f'<svg viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="{escape(f"{title}, {unit}")}">'
        f"{''.join(parts)}</svg></figure>"
    )


def caption(title: str, unit: str, legend: str = "") -> str:
    """The head of a card."""
    return f"<figcaption><b>{escape(title)}</b> <span>{escape(unit)}</span>{legend}</figcaption>"


def legend_list(entries: Sequence[tuple[str, str, str]]) -> str:
    """A legend of (key class, name, value behind it); nothing without entries."""
    items = (
        f'<li class="{kind}">{escape(name)}{f" <em>{escape(value)}</em>" if value else ""}</li>'
        for kind, name, value in entries
    )
    return f'<ul class="legend">{"".join(items)}</ul>' if entries else ""


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
