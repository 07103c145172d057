"""The graph of a spec: its topics and pipelines, and which way messages go between them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from worker.settings import DeadLetterSettings, Pipeline, Spec
from worker.settings.patterns import is_pattern, reads
from worker.settings.topics import fence_topic, redrive_topic, retry_topic

NodeKind = Literal["topic", "pattern", "pipeline", "tier", "dead_letter"]
EdgeKind = Literal["reads", "writes", "retries", "gives_up"]


@dataclass(frozen=True, slots=True)
class Node:
    """A topic, a pattern of topics, or a pipeline; no two have the same kind and name."""

    kind: NodeKind
    name: str
    handler: str | None = None
    """Of a pipeline."""
    delay: float | None = None
    """Of a tier, in seconds."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A way that messages go."""

    source: Node
    target: Node
    kind: EdgeKind
    label: str = ""
    """Exceptions for which dead letters go this way; empty for those without a way of their own."""


@dataclass(frozen=True, slots=True)
class Graph:
    """What a spec puts together, in its order."""

    nodes: Sequence[Node]
    edges: Sequence[Edge]

    def columns(self) -> list[list[Node]]:
        """The nodes from left to right, each behind those that it gets messages from.

        A way back, as to a topic that was read before, does not count.
        """
        places = dict.fromkeys(self.nodes, 0)
        for edge in _forward(self.nodes, self.edges):
            places[edge.target] = max(places[edge.target], places[edge.source] + 1)
        columns: list[list[Node]] = [[] for _ in range(max(places.values()) + 1)]
        for node, place in places.items():
            columns[place].append(node)
        return columns


def graph_of(spec: Spec, names: Collection[str] = ()) -> Graph:
    """The graph of a spec, or of some of its pipelines with the topics that these name."""
    nodes: dict[Node, None] = {}
    edges: dict[Edge, None] = {}
    pipelines = {name: one for name, one in spec.pipelines.items() if not names or name in names}
    dead = _dead_letter_topics(pipelines.values())
    known = _named(pipelines.values())
    for name, pipeline in pipelines.items():
        for edge in _edges(spec, name, pipeline, dead, known):
            nodes.update({edge.source: None, edge.target: None})
            edges[edge] = None
    if not names:
        nodes.update(dict.fromkeys(Node("topic", topic) for topic in _free(spec, known | dead)))
    return Graph(list(nodes), list(edges))


def _edges(
    spec: Spec, name: str, pipeline: Pipeline, dead: Collection[str], known: Collection[str]
) -> Iterator[Edge]:
    here, group = Node("pipeline", name, handler=pipeline.handler), spec.group(name)
    for source in pipeline.source:
        yield Edge(_topic(source, dead), here, "reads")
    patterns = [source for source in pipeline.source if is_pattern(source)]
    for topic in sorted(known):
        if reads(patterns, topic):
            yield Edge(_topic(topic, dead), here, "reads")
    if pipeline.to is not None:
        yield Edge(here, _topic(pipeline.to, dead), "writes")
    for number, delay in enumerate(pipeline.retry.topics):
        tier = Node("tier", retry_topic(group, number), delay=delay)
        yield Edge(here, tier, "retries")
        yield Edge(tier, here, "retries")
    if pipeline.dead_letter is not None:
        for topic, label in _ways(pipeline.dead_letter).items():
            yield Edge(here, Node("dead_letter", topic), "gives_up", label)


def _topic(name: str, dead: Collection[str]) -> Node:
    if is_pattern(name):
        return Node("pattern", name)
    return Node("dead_letter" if name in dead else "topic", name)


def _ways(target: DeadLetterSettings) -> dict[str, str]:
    """By dead-letter topic the exceptions that it is for; nothing for the one of all others."""
    ways: dict[str, list[str]] = {target.default: []}
    for error, topic in target.by.items():
        if topic != target.default:
            ways.setdefault(topic, []).append(error)
    return {topic: ", ".join(errors) for topic, errors in ways.items()}


def _dead_letter_topics(pipelines: Collection[Pipeline]) -> set[str]:
    targets = [one.dead_letter for one in pipelines if one.dead_letter is not None]
    return {topic for target in targets for topic in target.topics}


def _named(pipelines: Collection[Pipeline]) -> set[str]:
    """Topics that pipelines read or write."""
    sources = {topic for one in pipelines for topic in one.source if not is_pattern(topic)}
    return sources | {one.to for one in pipelines if one.to is not None}


def _free(spec: Spec, known: Collection[str]) -> Iterator[str]:
    """Topics that the spec declares and no pipeline names: handlers may write to them."""
    own: set[str] = set()
    for name, pipeline in spec.pipelines.items():
        group = spec.group(name)
        own |= {redrive_topic(group), fence_topic(group)}
        own |= {retry_topic(group, number) for number in range(len(pipeline.retry.topics))}
    return (topic for topic in spec.topics if topic not in own and topic not in known)


def _forward(nodes: Sequence[Node], edges: Sequence[Edge]) -> list[Edge]:
    """The edges without those that close a circle, each behind all that lead to its source."""
    out: dict[Node, list[Edge]] = {node: [] for node in nodes}
    for edge in edges:
        out[edge.source].append(edge)
    kept: dict[Node, list[Edge]] = {}
    done: dict[Node, None] = {}
    for first in nodes:
        way = {} if first in done else {first: iter(out[first])}
        while way:
            node, left = next(reversed(way.items()))
            edge_on = next(left, None)
            if edge_on is None:
                del way[node]
                done[node] = None
            elif edge_on.target not in way:
                kept.setdefault(node, []).append(edge_on)
                if edge_on.target not in done:
                    way[edge_on.target] = iter(out[edge_on.target])
    return [edge for node in reversed(done) for edge in kept.get(node, ())]
