"""The results as files: everything raw as JSON, and from that the tables and the plot.

A run replaces the sections that it measured and keeps the others, each of which says from which
machine and time it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.figures import Spread
from bench.section import Bar, Chart, Section
from bench.svg import render

Document = dict[str, Any]
"""Sections by title, as they stand in the JSON file."""

BETWEEN = re.compile(r"(<!-- results -->\n).*(<!-- end of results -->)", re.DOTALL)


def write(document: Document, folder: Path, name: str) -> None:
    """Write NAME.json, NAME.md and NAME.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / f"{name}.md").write_text("# Results of the bench\n\n" + markdown(document))
    (folder / f"{name}.svg").write_text(render(charts(document)))


def read(folder: Path, name: str) -> Document:
    """What an earlier run has left there, or nothing."""
    file = folder / f"{name}.json"
    found: Document = json.loads(file.read_text()) if file.exists() else {}
    return found


def merged(
    old: Document, sections: Sequence[Section], machine: dict[str, str], when: str, command: str
) -> Document:
    """Put new sections in the place of old ones of the same title."""
    run = {"when": when, "command": command, "machine": machine}
    return old | {section.title: {**run, **asdict(section)} for section in sections}


def markdown(document: Document) -> str:
    """All tables, each run's machine described once."""
    parts: list[str] = []
    shown: tuple[str, str] | None = None
    for title, section in document.items():
        run = (section["when"], section["command"])
        if run != shown:
            machine = "; ".join(f"{key} {value}" for key, value in section["machine"].items())
            parts.append(f"Measured on {run[0]} by `{run[1]}` on this machine: {machine}.")
            shown = run
        settings = ", ".join(f"{key} {_plain(value)}" for key, value in section["settings"].items())
        parts += [f"### {title}", f"With {settings}.", section["table"], *section["notes"]]
    return "\n\n".join(parts) + "\n"


def charts(document: Document) -> list[Chart]:
    """The charts of all sections."""
    return [
        Chart(chart["title"], chart["digits"], [_bar(bar) for bar in chart["bars"]])
        for section in document.values()
        for chart in section["charts"]
    ]


def into(page: str, document: Document) -> str:
    """The page with the results between its two marks."""
    return BETWEEN.sub(lambda found: f"{found[1]}\n{markdown(document)}\n{found[2]}", page)


def _bar(bar: dict[str, Any]) -> Bar:
    return Bar(bar["label"], bar["spread"] and Spread(*bar["spread"]), bar["note"])


def _plain(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
