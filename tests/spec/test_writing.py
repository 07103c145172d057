"""Values as YAML text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.spec import as_yaml
from worker.spec.text import read

TEXTS = st.text(st.characters(codec="utf-8"))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4)
)


@pytest.mark.parametrize("text", ["NO", "012", "12e3", "0o17", "1.10", "12:30:00", "null", "", "~"])
def test_a_text_that_looks_like_something_else_stays_a_text(text: str, tmp_path: Path) -> None:
    file = tmp_path / "value.yaml"
    file.write_text(as_yaml({"value": text}))

    assert read(file, {}).value == {"value": text}


@given(VALUES)
def test_yaml_is_of_one_line_or_more_and_in_ascii(value: object) -> None:
    text = as_yaml(value)

    assert text.isascii()
    assert text.startswith("---")
    assert not set(text) & {"\x1b", "\x00", "\r"}


def test_keys_keep_their_order_and_tuples_are_lists() -> None:
    assert as_yaml({"b": (1, 2), "a": None}) == "---\nb:\n- 1\n- 2\na: null"
    assert json.loads(json.dumps({"b": (1, 2)})) == {"b": [1, 2]}
