"""Charts of the reports as SVG files that stand alone: a page outside of a report has no style for them."""

import re

from mbpo_fast.training.reports.lines import Chart, chart_svg

STYLE = """\
<style>
text { font: 11.5px system-ui, sans-serif; fill: #5d6879 } .y { text-anchor: end } .x { text-anchor: middle }
.grid { stroke: #d5dae2 } polyline { fill: none; stroke-width: 1.8 } .faint { stroke-width: 1; opacity: .45 }
.band { opacity: .14 } .tip { fill: none } .end { font-weight: 600 }
.level { stroke: #5d6879; stroke-dasharray: 4 3 }
.c1 { stroke: #1a6fb5 } .c2 { stroke: #cf5c12 } .c3 { stroke: #1d8a6b } .c4 { stroke: #a6468f }
.c5 { stroke: #8a6d00 } .f5, .t5 { fill: #8a6d00 } .c6 { stroke: #5b5bd6 } .f6, .t6 { fill: #5b5bd6 }
.f1, .t1 { fill: #1a6fb5 } .f2, .t2 { fill: #cf5c12 } .f3, .t3 { fill: #1d8a6b } .f4, .t4 { fill: #a6468f }
</style>"""
SIZE = (760, 360)


def standalone_svg(chart: Chart) -> str:
    """The chart as the text of a file, without a legend; nothing when it has no point."""
    found = re.search(r"<svg.*</svg>", chart_svg(chart, SIZE), re.DOTALL)
    if found is None:
        return ""
    opened = found[0].replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    return opened.replace(">", ">\n" + STYLE, 1) + "\n"
