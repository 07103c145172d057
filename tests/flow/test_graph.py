"""Which way messages go in a spec."""

from __future__ import annotations

from typing import Any

from worker.flow.graph import Graph, Node, graph_of
from worker.settings import Spec
from worker.settings.values import WRITTEN


def spec(topics: dict[str, Any] | None = None, **pipelines: dict[str, Any]) -> Spec:
    written = {name: {"handler": name, **one} for name, one in pipelines.items()}
    text = {
        "version": 1,
        "name": "shop",
        "kafka": {"brokers": "nowhere.invalid:1"},
        "handlers": ["handlers"],
        "topics": topics or {},
        "pipelines": written,
    }
    return Spec.model_validate(text, context=WRITTEN)


def ways(graph: Graph) -> set[tuple[str, str, str]]:
    return {(edge.source.name, edge.kind, edge.target.name) for edge in graph.edges}


def names(columns: list[list[Node]]) -> list[list[str]]:
    return [[node.name for node in column] for column in columns]


def test_messages_go_from_sources_through_tiers_to_results_and_dead_letters() -> None:
    graph = graph_of(
        spec(
            doubles={
                "from": ["orders", "returns"],
                "to": "doubled",
                "dead_letter": {"default": "dlq", "by": {"ValueError": "bad"}},
                "retry": {"topics": ["1m", "10m"], "keep_order": False},
            }
        )
    )

    assert ways(graph) == {
        ("orders", "reads", "doubles"),
        ("returns", "reads", "doubles"),
        ("doubles", "writes", "doubled"),
        ("doubles", "retries", "shop.doubles.retry.0"),
        ("shop.doubles.retry.0", "retries", "doubles"),
        ("doubles", "retries", "shop.doubles.retry.1"),
        ("shop.doubles.retry.1", "retries", "doubles"),
        ("doubles", "gives_up", "dlq"),
        ("doubles", "gives_up", "bad"),
    }
    assert [node.delay for node in graph.nodes if node.kind == "tier"] == [60.0, 600.0]
    assert {edge.label for edge in graph.edges if edge.target.name == "bad"} == {"ValueError"}


def test_a_topic_and_a_pipeline_of_the_same_name_are_two_nodes() -> None:
    graph = graph_of(spec(delays={"from": "flights", "to": "delays"}))

    assert names(graph.columns()) == [["flights"], ["delays"], ["delays"]]


def test_a_topic_that_a_pattern_matches_leads_to_its_pipeline() -> None:
    graph = graph_of(
        spec(
            first={"from": "orders", "to": "sums-eu"},
            second={"from": "^sums-.*", "to": "totals"},
        )
    )

    assert {("^sums-.*", "reads", "second"), ("sums-eu", "reads", "second")} <= ways(graph)
    assert names(graph.columns())[:3] == [["orders", "^sums-.*"], ["first"], ["sums-eu"]]


def test_dead_letters_that_a_pipeline_reads_are_the_same_node() -> None:
    graph = graph_of(
        spec(first={"from": "orders", "dead_letter": "dlq"}, second={"from": "dlq", "to": "mended"})
    )

    assert [node.kind for node in graph.nodes if node.name == "dlq"] == ["dead_letter"]
    assert names(graph.columns())[2] == ["dlq"]


def test_a_way_back_leaves_the_columns_as_they_are() -> None:
    graph = graph_of(
        spec(first={"from": "a", "to": "b"}, second={"from": "b", "to": "a"}, third={"from": "b"})
    )

    assert names(graph.columns()) == [["a"], ["first"], ["b"], ["second", "third"]]


def test_pipelines_may_be_written_in_any_order() -> None:
    graph = graph_of(spec(last={"from": "b", "to": "c"}, first={"from": "a", "to": "b"}))

    assert names(graph.columns()) == [["a"], ["first"], ["b"], ["last"], ["c"]]


def test_a_chain_may_be_longer_than_python_calls_may_be_deep() -> None:
    chain = {f"p{n}": {"from": f"t{n}", "to": f"t{n + 1}"} for n in range(1_500)}

    assert len(graph_of(spec(**chain)).columns()) == 3_001


def test_topics_that_no_pipeline_names_are_there_but_for_own_ones() -> None:
    topics: dict[str, Any] = {"audit": {}, "shop.first.retry.0": {}, "shop.first.redrive": {}}
    pipeline = {"from": "orders", "retry": {"topics": ["1m"], "keep_order": False}}

    graph = graph_of(spec(topics, first=pipeline))

    assert [node.name for node in graph.nodes if node.kind == "topic"] == ["orders", "audit"]


def test_of_some_pipelines_only_their_own_topics_are_there() -> None:
    both = spec({"audit": {}}, first={"from": "a", "to": "b"}, second={"from": "c", "to": "d"})

    assert [node.name for node in graph_of(both, ["second"]).nodes] == ["c", "second", "d"]
