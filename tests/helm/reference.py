"""The table of the chart's values, made from the comments in values.yaml."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from tests.helm.chart import CHART

HEADING: Final = "## Values\n"
"""What stands behind it in README.md is made."""
_KEY: Final = re.compile(r"( *)([A-Za-z]\w*):")


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of the values with what its comment says."""

    path: str
    default: Any
    meaning: str


def entries() -> Iterator[Entry]:
    """The commented keys of values.yaml, in its order."""
    text = (CHART / "values.yaml").read_text()
    defaults = yaml.safe_load(text)
    way: list[str] = []
    meaning = ""
    for line in text.splitlines():
        key = _KEY.match(line)
        if key is not None:
            way = [*way[: len(key[1]) // 2], key[2]]
            if meaning:
                yield Entry(".".join(way), _at(defaults, way), meaning)
        meaning = line.strip().removeprefix("# -- ") if "# -- " in line else ""


def _at(values: Any, way: list[str]) -> Any:
    for key in way:
        values = values[key]
    return values


def readme() -> str:
    """README.md with the table as it is now."""
    text, heading, _ = (CHART / "README.md").read_text().partition(HEADING)
    rows = [
        f"| `{entry.path}` | `{json.dumps(entry.default)}` | {entry.meaning} |"
        for entry in entries()
    ]
    made = "Made from the comments in `values.yaml` by `make docs`."
    return "\n".join(
        [text + heading, made, "", "| key | default | meaning |", "|--|--|--|", *rows, ""]
    )
