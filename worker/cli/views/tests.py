"""What `worker test` prints, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as ET

import click

from worker.cli.views.values import value_of_problem
from worker.observe.text import escaped
from worker.testing.spectests.running import Result
from worker.types import Problem


def show_result(result: Result) -> None:
    """Print a test that has run, and what differs."""
    word, color = ("FAILED", "red") if result.differences else ("ok", "green")
    place = click.style(f"{result.place.file}:{result.place.line}", dim=True)
    took = click.style(f"{result.seconds * 1000:.0f} ms", dim=True)
    click.echo(f"{click.style(f'{word:6}', fg=color)} {escaped(result.name)}  {place}  {took}")
    for problem in result.differences:
        click.echo(f"  {escaped(told(problem, result.name))}")


def show_total(results: Sequence[Result], seconds: float) -> None:
    """Print how many have passed."""
    failed = sum(bool(result.differences) for result in results)
    counts = [f"{len(results) - failed} passed", *([f"{failed} failed"] if failed else [])]
    text = f"{', '.join(counts)} in {seconds:.2f} s"
    click.echo(click.style(text, fg="red" if failed else "green", bold=True))


def told(problem: Problem, name: str) -> str:
    """A difference with its place; its path begins below the test."""
    path = problem.path.removeprefix(f"tests.{name}").lstrip(".")
    place = f"{problem.file}:{problem.line}:{problem.column}"
    return f"{place}: {path}: {problem.text}" if path else f"{place}: {problem.text}"


def value_of_results(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "name": result.name,
            "file": result.place.file,
            "line": result.place.line,
            "passed": not result.differences,
            "seconds": round(result.seconds, 6),
            "differences": [*map(value_of_problem, result.differences)],
        }
        for result in results
    ]


def junit(results: Sequence[Result], problems: Sequence[Problem]) -> bytes:
    """The results, and why some could not be had, as JUnit's XML, a suite for each file."""
    root = ET.Element("testsuites", name="worker test")
    places = [*(result.place for result in results), *problems]
    for file in dict.fromkeys(place.file for place in places):
        of_file = [result for result in results if result.place.file == file]
        wrong = [problem for problem in problems if problem.file == file]
        suite = ET.SubElement(root, "testsuite", name=file, tests=str(len(of_file) + len(wrong)))
        suite.set("failures", str(sum(bool(result.differences) for result in of_file)))
        suite.set("errors", str(len(wrong)))
        suite.set("time", f"{sum(result.seconds for result in of_file):.6f}")
        for result in of_file:
            _add_case(suite, result)
        for problem in wrong:
            _add_error(suite, problem)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _add_case(suite: ET.Element, result: Result) -> None:
    place = result.place
    case = _case(suite, result.name, place)
    case.set("time", f"{result.seconds:.6f}")
    if result.differences:
        lines = [escaped(told(problem, result.name)) for problem in result.differences]
        ET.SubElement(case, "failure", message=lines[0]).text = "\n".join(lines)


def _add_error(suite: ET.Element, problem: Problem) -> None:
    case = _case(suite, problem.path or problem.file, problem)
    ET.SubElement(case, "error", message=escaped(problem.text)).text = escaped(str(problem))


def _case(suite: ET.Element, name: str, place: Problem) -> ET.Element:
    case = ET.SubElement(suite, "testcase", name=escaped(name), classname=place.file)
    case.set("file", place.file)
    case.set("line", str(place.line))
    return case
