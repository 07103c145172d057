"""The graph of a spec as a picture, laid out in columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

from worker.cli.views.mermaid import label_of
from worker.flow.graph import Edge, Graph, Node
from worker.observe.text import escaped

LINE: Final = 18
"""Pixels from line to line."""
LETTER: Final = 7.3
"""Pixels of a letter: all are as wide."""
PADDING: Final = 12
GAP: Final = 22
"""Pixels between two nodes of a column."""
WAY: Final = 90
"""Pixels between two columns."""
LONGEST: Final = 60
"""Letters of a label; the rest is cut off."""

STYLE: Final = """\
svg { color-scheme: light dark; background: #ffffff; }
text { font: 12px ui-monospace, Menlo, Consolas, monospace; fill: #1b1f24; }
text.second { fill: #59636e; }
rect { fill: #f6f8fa; stroke: #8c959f; }
rect.pipeline { fill: #ddf4ff; stroke: #0969da; stroke-width: 2; }
rect.tier, rect.pattern { stroke-dasharray: 4; }
rect.dead_letter { fill: #ffebe9; stroke: #cf222e; }
path { fill: none; stroke: #59636e; }
path.retries, path.gives_up { stroke-dasharray: 4; }
path.gives_up { stroke: #cf222e; }
marker path { fill: #59636e; stroke: none; }
@media (prefers-color-scheme: dark) {
  svg { background: #0d1117; }
  text { fill: #e6edf3; }
  text.second { fill: #9198a1; }
  rect { fill: #161b22; stroke: #6e7681; }
  rect.pipeline { fill: #0c2d6b; stroke: #4493f8; }
  rect.dead_letter { fill: #490202; stroke: #f85149; }
  path { stroke: #9198a1; }
  path.gives_up { stroke: #f85149; }
  marker path { fill: #9198a1; }
}"""


class Box(NamedTuple):
    """Where a node is."""

    x: float
    y: float
    width: float
    height: float


def svg(graph: Graph) -> str:
    """The picture, the same for the same graph, for light and for dark pages."""
    boxes = _laid_out(graph)
    width = max(box.x + box.width for box in boxes.values()) + PADDING
    height = max(box.y + box.height for box in boxes.values()) + GAP + PADDING
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
            f'width="{width:g}" height="{height:g}" role="img">',
            f"<style>\n{STYLE}\n</style>",
            '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
            'markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>',
            *(_edge(edge, boxes[edge.source], boxes[edge.target]) for edge in graph.edges),
            *(part for node, box in boxes.items() for part in _node(node, box)),
            "</svg>",
        ]
    )


def _laid_out(graph: Graph) -> dict[Node, Box]:
    """Columns beside each other, in the middle of the height; nodes at the height of those before.

    So fewer edges cross.
    """
    columns = graph.columns()
    heights = [sum(_size(node)[1] + GAP for node in column) - GAP for column in columns]
    before: dict[Node, list[Node]] = {}
    for edge in graph.edges:
        before.setdefault(edge.target, []).append(edge.source)
    boxes: dict[Node, Box] = {}

    def height_of_those_before(node: Node) -> float:
        found = [boxes[one] for one in before.get(node, ()) if one in boxes]
        return sum(box.y + box.height / 2 for box in found) / (len(found) or 1)

    x = float(PADDING)
    for column, height in zip(columns, heights, strict=True):
        y = PADDING + (max(heights) - height) / 2
        widest = max(_size(node)[0] for node in column)
        for node in sorted(column, key=height_of_those_before):
            width, tall = _size(node)
            boxes[node] = Box(x + (widest - width) / 2, y, width, tall)
            y += tall + GAP
        x += widest + WAY
    return boxes


def _size(node: Node) -> tuple[float, float]:
    lines = list(map(_shown, label_of(node)))
    return max(map(len, lines)) * LETTER + 2 * PADDING, len(lines) * LINE + PADDING


def _node(node: Node, box: Box) -> Iterator[str]:
    round_off = 4 if node.kind == "pipeline" else 12
    yield (
        f'<rect class="{node.kind}" x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" '
        f'height="{box.height:g}" rx="{round_off}"/>'
    )
    for number, line in enumerate(label_of(node)):
        y = box.y + PADDING / 2 + LINE * (number + 0.72)
        second = ' class="second"' if number else ""
        yield f'<text{second} x="{box.x + PADDING:g}" y="{y:g}">{escape(_shown(line))}</text>'


def _edge(edge: Edge, source: Box, target: Box) -> str:
    """A curve from the right side of a node to the left one of another; back it goes below."""
    start, y1 = source.x + source.width, source.y + source.height / 2
    end, y2 = target.x, target.y + target.height / 2
    if start <= end:
        bend = (end - start) / 2
        way = f"M{start:g} {y1:g}C{start + bend:g} {y1:g} {end - bend:g} {y2:g} {end:g} {y2:g}"
        middle = (start + end) / 2, (y1 + y2) / 2
    else:
        x1, x2 = source.x + source.width / 2, target.x + target.width / 2
        low = max(source.y + source.height, target.y + target.height)
        way = (
            f"M{x1:g} {source.y + source.height:g}C{x1:g} {low + GAP:g} {x2:g} {low + GAP:g} "
            f"{x2:g} {target.y + target.height:g}"
        )
        middle = (x1 + x2) / 2, low + GAP
    path = f'<path class="{edge.kind}" d="{way}" marker-end="url(#end)"/>'
    if not edge.label:
        return path
    text = escape(_shown(edge.label))
    return (
        f'{path}<text class="second" x="{middle[0]:g}" y="{middle[1] - 4:g}" '
        f'text-anchor="middle">{text}</text>'
    )


def _shown(text: str) -> str:
    text = escaped(text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
