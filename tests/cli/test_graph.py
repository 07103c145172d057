"""`worker graph`: text for Mermaid, and a picture."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.chromium import Browser
from tests.cli.rig import worker
from worker.cli.views.mermaid import mermaid
from worker.cli.views.svg import svg
from worker.flow.graph import Edge, Graph, Node, graph_of
from worker.spec import load

SPEC = """\
version: 1
name: shop
kafka: {brokers: "nowhere.invalid:1"}
handlers: [nowhere]
topics: {audit: {}}
pipelines:
  doubles:
    {from: [orders, returns], handler: double, to: doubles, dead_letter: orders.dlq,
     ordering: key, retry: {topics: [1m, 10m]}}
  large:
    {from: "^doub.*", handler: large, to: large,
     dead_letter: {default: orders.dlq, by: {ValueError: bad.dlq}}}
  again: {from: large, handler: again, to: orders}
"""
NASTY = '"]<b>&#x1b;\x1b[2J\u202e-->|`end'
XML = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def graph(file: Path) -> Graph:
    return graph_of(load(file, {}).spec)


def test_mermaid_has_a_line_for_each_node_and_each_way(file: Path, graph: Graph) -> None:
    code, out, err = worker("graph", file, folder=file.parent)

    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "flowchart LR"
    assert '  n1["doubles<br/>handler double"]:::pipeline' in lines
    assert '  n4[("shop.doubles.retry.0<br/>after 1m")]:::tier' in lines
    assert '  n8["large"]:::pipeline' in lines
    assert '  n8 -.->|"ValueError"| n10' in lines
    ways = [line for line in lines if re.fullmatch(r"  n\d+ -\.?->(\|.*\|)? n\d+", line)]
    assert len(ways) == len(graph.edges)


def test_the_same_spec_gives_the_same_bytes(file: Path) -> None:
    for form in ("mermaid", "svg"):
        runs = {
            worker("graph", file, "--format", form, folder=file.parent, PYTHONHASHSEED=seed)[1]
            for seed in ("1", "2")
        }
        assert len(runs) == 1


def test_labels_cannot_leave_their_place_in_mermaid() -> None:
    here, there = Node("pattern", NASTY), Node("pipeline", "p", handler=NASTY)

    lines = mermaid(Graph([here, there], [Edge(here, there, "reads", NASTY)])).splitlines()

    assert len(lines) == 7
    node = re.fullmatch(r'  n0\[\("([^"]*)"\)\]:::pattern', lines[1])
    assert node is not None
    assert re.fullmatch(r"(#\d+;|[A-Za-z0-9 ._-])*", node[1])
    assert "#92;x1b#91;2J" in node[1]


def test_labels_cannot_leave_their_place_in_the_picture() -> None:
    here, there = Node("pattern", NASTY), Node("pipeline", "p", handler=NASTY)

    picture = svg(Graph([here, there], [Edge(here, there, "reads", NASTY)]))

    texts = [one.text for one in ET.fromstring(picture).iter(f"{XML}text")]
    assert [text for text in texts if text and "<b>" in text and r"\x1b" in text] == [
        texts[0],
        texts[1],
        texts[3],
    ]
    assert "\x1b" not in picture
    assert "\u202e" not in picture


def test_long_labels_are_cut_in_the_picture() -> None:
    long = Node("pattern", "^" + "x" * 200)

    (text,) = ET.fromstring(svg(Graph([long], []))).iter(f"{XML}text")

    assert text.text == "^" + "x" * 56 + "..."


def test_no_two_nodes_lie_on_each_other_and_all_lie_in_the_picture(graph: Graph) -> None:
    picture = ET.fromstring(svg(graph))

    width, height = float(picture.attrib["width"]), float(picture.attrib["height"])
    boxes = [
        tuple(float(one.attrib[key]) for key in ("x", "y", "width", "height"))
        for one in picture.iter(f"{XML}rect")
    ]
    assert len(boxes) == len(graph.nodes)
    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in boxes)
    for (x1, y1, w1, h1), (x2, y2, w2, h2) in combinations(boxes, 2):
        assert x1 + w1 <= x2 or x2 + w2 <= x1 or y1 + h1 <= y2 or y2 + h2 <= y1
    assert len([one for one in picture.iter(f"{XML}path") if "marker-end" in one.attrib]) == len(
        graph.edges
    )


@pytest.mark.parametrize(
    ("scheme", "letters"), [("light", "27, 31, 36"), ("dark", "230, 237, 243")]
)
def test_a_browser_shows_the_picture_in_the_colours_of_its_user(
    browser: Browser, graph: Graph, tmp_path: Path, scheme: str, letters: str
) -> None:
    (tmp_path / "graph.svg").write_text(svg(graph))
    page = browser.page(scheme=scheme)

    page.open(f"file://{tmp_path}/graph.svg")

    fill = "getComputedStyle(document.querySelector('text:not(.second)')).fill"
    assert page.run(fill) == f"rgb({letters})"
    sticking_out = """
        [...document.querySelectorAll('rect')].filter(box => {
          const right = box.x.baseVal.value + box.width.baseVal.value;
          let text = box.nextElementSibling;
          for (; text?.tagName == 'text'; text = text.nextElementSibling)
            if (text.getBBox().x + text.getBBox().width > right) return true;
        }).length"""
    assert page.run(sticking_out) == 0
    assert page.complaints == []


def test_a_wrong_spec_is_told_with_its_place(file: Path) -> None:
    file.write_text(SPEC.replace("to: orders}", "too: orders}"))

    code, out, err = worker("graph", file, folder=file.parent)

    assert (code, out) == (78, "")
    assert "shop.yaml:13:40: pipelines.again.too: " in err
