"""Bar charts as SVG: a bar for the median, a line for the range; for light and dark pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from bench.section import Bar, Chart

WIDTH = 760
LABELS = 230
"""Width of the column of labels."""
FIGURES = 80
"""Width of the column of figures."""
ROW = 22
HEAD = 34
GAP = 12
STYLE = """\
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 14px }
  .note { fill: #6e7781 }
  .bar { fill: #4f83cc }
  .range { stroke: #24292f; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .note { fill: #8b949e }
    .bar { fill: #5b8fd6 }
    .range { stroke: #e6edf3 }
  }"""


def render(charts: Sequence[Chart]) -> str:
    """All charts below each other, each on a scale of its own from 0."""
    parts: list[str] = []
    top = 0
    for chart in charts:
        parts.extend(_chart(chart, top))
        top += HEAD + ROW * len(chart.bars) + GAP
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" '
            f'width="{WIDTH}" height="{top}" role="img">',
            f"<style>\n{STYLE}\n</style>",
            *parts,
            "</svg>\n",
        ]
    )


def _chart(chart: Chart, top: int) -> Iterator[str]:
    yield _text(0, top + 22, chart.title, "title")
    highest = max([bar.spread.high for bar in chart.bars if bar.spread], default=0) or 1
    scale = (WIDTH - LABELS - FIGURES) / highest
    for index, bar in enumerate(chart.bars):
        yield from _bar(bar, top + HEAD + index * ROW, scale, chart.digits)


def _bar(bar: Bar, top: int, scale: float, digits: int) -> Iterator[str]:
    middle = top + ROW / 2
    yield _text(0, middle + 4, bar.label)
    if bar.spread is None:
        yield _text(LABELS, middle + 4, bar.note, "note")
        return
    low, length, high = (LABELS + value * scale for value in bar.spread)
    yield (
        f'<rect class="bar" x="{LABELS}" y="{top + 3}" '
        f'width="{length - LABELS:.1f}" height="{ROW - 6}" rx="2"/>'
    )
    yield f'<path class="range" d="M{low:.1f} {middle}H{high:.1f}"/>'
    yield _text(max(length, high) + 6, middle + 4, f"{bar.spread.middle:,.{digits}f}")


def _text(x: float, y: float, text: str, kind: str = "label") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
