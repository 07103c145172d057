"""The graph of a spec as Mermaid's text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from worker.flow.graph import EdgeKind, Graph, Node, NodeKind
from worker.observe.text import escaped
from worker.spec.units import united

SHAPES: Final[dict[NodeKind, tuple[str, str]]] = {
    "topic": ("[(", ")]"),
    "pattern": ("[(", ")]"),
    "pipeline": ("[", "]"),
    "tier": ("[(", ")]"),
    "dead_letter": ("[(", ")]"),
}
LINES: Final[dict[EdgeKind, str]] = {
    "reads": "-->",
    "writes": "-->",
    "retries": "-.->",
    "gives_up": "-.->",
}

_PLAIN: Final = re.compile(r"[^A-Za-z0-9 ._-]")


def mermaid(graph: Graph) -> str:
    """A flow chart, the same for the same graph."""
    return "\n".join(_lines(graph))


def label_of(node: Node) -> list[str]:
    """What is written in a node, line by line; not escaped yet."""
    if node.handler is not None and node.handler != node.name:
        return [node.name, f"handler {node.handler}"]
    if node.delay is not None:
        return [node.name, f"after {united(node.delay)}"]
    return [node.name]


def _lines(graph: Graph) -> Iterator[str]:
    ids = {node: f"n{number}" for number, node in enumerate(graph.nodes)}
    yield "flowchart LR"
    for node, name in ids.items():
        before, after = SHAPES[node.kind]
        text = "<br/>".join(map(_text, label_of(node)))
        yield f'  {name}{before}"{text}"{after}:::{node.kind}'
    for edge in graph.edges:
        label = f'|"{_text(edge.label)}"|' if edge.label else ""
        yield f"  {ids[edge.source]} {LINES[edge.kind]}{label} {ids[edge.target]}"
    yield "  classDef pipeline stroke-width:2px"
    yield "  classDef tier,pattern stroke-dasharray:4"
    yield "  classDef dead_letter stroke:#c0392b"


def _text(text: str) -> str:
    """The text with what Mermaid or HTML could take for their own as numbers."""
    return _PLAIN.sub(lambda found: f"#{ord(found.group())};", escaped(text))
