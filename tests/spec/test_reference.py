"""The pages that are made from the settings are those of the settings."""

import json
from pathlib import Path

from worker.spec import json_schema, reference

ROOT = Path(__file__).parents[2]


def test_the_reference_page_is_current() -> None:
    assert (ROOT / "docs" / "spec.md").read_text() == reference(), "run: make docs"


def test_the_schema_for_editors_is_current() -> None:
    assert json.loads((ROOT / "pipeline.schema.json").read_text()) == json_schema(), (
        "run: make docs"
    )


def test_every_key_of_the_schema_says_what_it_means() -> None:
    schema = json_schema()
    for model in [schema, *schema["$defs"].values()]:
        for name, key in model["properties"].items():
            assert key.get("description"), name


def test_keys_are_those_that_are_written() -> None:
    assert "from" in json_schema()["$defs"]["Pipeline"]["properties"]
