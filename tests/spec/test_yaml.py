"""Where a mistake in the YAML itself is said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.spec import survey

TEXT = """\
version: 1
name: shop
handlers: [json]
pipelines:
  a:
    from: x
    handler: h
server: {port: 0}
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: shop", 'name: "shop', "2:7: (file): is not YAML: while scanning a quoted scalar"),
        ("name: shop", "name: 'shop", "2:7: (file): is not YAML: while scanning a quoted scalar"),
        ("name: shop", "name shop", "2:1: (file): is not YAML: while scanning a simple key"),
        ("    handler: h", "    handler h", "7:5: (file): is not YAML: while scanning a simple"),
        ("[json]", "[json", "3:11: (file): is not YAML: while parsing a flow sequence"),
        ("{port: 0}", "{port: 0", "8:9: (file): is not YAML: while parsing a flow mapping"),
        ("name: shop", "name: a: b", "2:8: (file): is not YAML: mapping values are not allowed"),
        ("name: shop", "name:shop", "2:5: (file): a space is missing after this `:`"),
        ("    from: x", "    from:x", "6:9: (file): a space is missing after this `:`"),
    ],
)
def test_a_mistake_is_placed_where_it_is_made(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in TEXT

    assert first_problem(tmp_path, TEXT.replace(old, new, 1)).startswith(expected)


def test_a_file_of_keys_without_spaces_is_told_what_is_missing(tmp_path: Path) -> None:
    problem = first_problem(tmp_path, "# mine\nversion:1\nname:shop\n")

    assert problem == "2:8: (file): a space is missing after this `:`"


def first_problem(folder: Path, text: str) -> str:
    file = folder / "spec.yaml"
    file.write_text(text)
    _, problems = survey(file, {})
    return str(problems[0]).removeprefix(f"{file}:")
