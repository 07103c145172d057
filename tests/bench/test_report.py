"""Files of results."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import report
from bench.backlog import steady
from bench.cluster import Reading
from bench.figures import Spread
from bench.machine import processor
from bench.process import Usage
from bench.registry import choose
from bench.rounds import Failed
from bench.section import Bar, Chart, Section
from bench.svg import render

CHART = Chart(
    "Rate <messages/s>", 0, [Bar("a & b", Spread(1, 2, 3)), Bar("c", None, "not measured")]
)
SECTION = Section("Throughput", {"records": 1000}, [], "| a |\n|--|", ["A note."], [CHART])
MACHINE = {"cores": "2"}
STOOD = Reading(30, 200)


def test_a_chart_is_well_formed_and_shows_every_bar() -> None:
    drawn = ET.fromstring(render([CHART, CHART]))

    texts = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["Rate <messages/s>", "a & b", "2", "c", "not measured"] * 2
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}rect"))) == 2


def test_a_chart_without_any_figure_can_be_drawn() -> None:
    ET.fromstring(render([Chart("nothing", 0, [Bar("c", None, "not measured")])]))


def test_results_survive_their_files(tmp_path: Path) -> None:
    document = report.merged({}, [SECTION], MACHINE, "2026-01-01", "python -m bench")

    report.write(document, tmp_path, "latest")

    assert report.charts(report.read(tmp_path, "latest")) == [CHART]
    assert "With records 1,000." in (tmp_path / "latest.md").read_text()


def test_a_run_replaces_what_it_measured_and_keeps_the_rest() -> None:
    other = Section("Idle", {}, [], "| idle |")
    old = report.merged({}, [SECTION, other], MACHINE, "2026-01-01", "python -m bench")

    new = report.merged(old, [SECTION], MACHINE, "2026-02-02", "python -m bench throughput")

    assert [section["when"] for section in new.values()] == ["2026-02-02", "2026-01-01"]


def test_a_page_has_the_results_between_its_marks() -> None:
    document = report.merged({}, [SECTION], MACHINE, "2026-01-01", "python -m bench")
    page = "before\n<!-- results -->\nold\n<!-- end of results -->\nafter\n"

    once = report.into(page, document)

    assert once.startswith("before\n<!-- results -->\n")
    assert once.endswith("<!-- end of results -->\nafter\n")
    assert "old" not in once
    assert report.into(once, document) == once


def test_cpu_and_rate_are_of_the_records_between_two_readings() -> None:
    last, done = Reading(11, 800), Reading(12, 1000)

    figures = steady(Reading(10, 200), last, done, Usage(1, 40), Usage(3, 50))

    assert figures["rate"] == 600
    assert figures["cpu"] == pytest.approx(2500)
    assert figures["whole_cpu"] == pytest.approx(3000)
    assert figures["rss"] == 50


def test_a_system_that_stands_still_has_failed() -> None:
    with pytest.raises(Failed, match="no results in 20 s after the first 200"):
        steady(Reading(10, 200), STOOD, STOOD, Usage(1, 40), Usage(3, 50))


def test_an_unknown_system_is_answered_with_all_there_are() -> None:
    with pytest.raises(ValueError, match=r"no system 'quicks'; there are bare, .*quix"):
        choose("bare,quicks")


def test_the_processor_is_named_where_the_kernel_tells_it() -> None:
    assert processor("vendor_id\t: x\nmodel name\t: Some CPU @ 2 GHz\n") == "Some CPU @ 2 GHz"
    assert processor("")
