"""The pages that are made from the settings are those of the settings."""

import json
from pathlib import Path

from worker.settings import TestFile
from worker.spec import json_schema, reference

ROOT = Path(__file__).parents[2]
RUN = "run: make docs (python -m worker.spec > docs/spec.md, worker schema > pipeline.schema.json)"


def test_the_reference_page_is_current() -> None:
    assert (ROOT / "docs" / "spec.md").read_text() == reference(), RUN


def test_the_schema_for_editors_is_current() -> None:
    assert json.loads((ROOT / "pipeline.schema.json").read_text()) == json_schema(), RUN


def test_the_schema_of_files_of_tests_is_current() -> None:
    assert json.loads((ROOT / "tests.schema.json").read_text()) == json_schema(TestFile), RUN


def test_every_key_of_the_schema_says_what_it_means() -> None:
    for schema in (json_schema(), json_schema(TestFile)):
        for model in [schema, *schema["$defs"].values()]:
            for name, key in model["properties"].items():
                assert key.get("description"), name


def test_keys_are_those_that_are_written() -> None:
    assert "from" in json_schema()["$defs"]["Pipeline"]["properties"]


def test_defaults_are_written_with_their_units_and_types_are_told() -> None:
    page = reference()

    assert "| `interval` | text such as `200ms`, `10s` | `1s` |" in page
    assert "| `bytes` | text such as `32MiB` | `32MiB` |" in page
    assert "| `port` | whole number, 0 to 65535 | `8080` |" in page
    assert "| `topics` | list of texts such as `200ms`, `10s` | `[]` |" in page
    assert "| `jitter` | number, 0 to 1 | `0.5` |" in page


def test_an_editor_takes_a_reference_for_a_number_and_a_text_for_the_dead_letters() -> None:
    models = json_schema()["$defs"]

    port = models["Server"]["properties"]["port"]["anyOf"]
    assert {"type": "string", "pattern": r"\$\{.+\}"} in port
    assert len(models["Pipeline"]["properties"]["dead_letter"]["anyOf"]) == 3
    assert models["Pipeline"]["properties"]["drain_timeout"]["default"] == "25s"
