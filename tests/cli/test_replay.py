"""`worker replay` of a captured record: no broker is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.rig import shop, worker

CAPTURED = """\
{"topic": "orders", "partition": 3, "offset": 7, "key": "k", "value": "{\\"number\\": 2}"}

{"topic": "orders", "value": {"number": -1}}
{"topic": "elsewhere", "value": {"number": 1}}
{"valeu": 1, "offset": "7"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shop(tmp_path)
    (tmp_path / "captured.jsonl").write_text(CAPTURED)
    return tmp_path


def test_a_captured_record_is_handled_without_a_cluster(folder: Path) -> None:
    code, out, err = worker(
        *("replay", "--file", "captured.jsonl", "--spec", "shop.yaml", "--output", "json"),
        folder=folder,
    )

    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["message"]["partition"], found["message"]["offset"]) == (3, 7)
    assert (found["pipeline"], found["became"]) == ("doubles", "handled")
    (record,) = found["records"]
    assert (record["topic"], record["key"], record["value"]) == ("doubles", "k", '{"number":4}')


def test_a_line_may_be_named_and_empty_ones_count(folder: Path) -> None:
    code, out, err = worker(
        "replay", "--file", "captured.jsonl:3", "--spec", "shop.yaml", folder=folder
    )

    assert code == 1
    assert "Reject: negative" in err
    assert "a dead letter in orders.dlq" in out
    assert "not there yet" not in err


def test_another_topic_needs_a_handler(folder: Path) -> None:
    given = ("replay", "--file", "captured.jsonl:4", "--spec", "shop.yaml")

    code, _, err = worker(*given, folder=folder)
    assert (code, err) == (
        1,
        "Error: no pipeline reads elsewhere; --handler says what is to handle it\n",
    )

    code, out, _ = worker(*given, "--handler", "double", folder=folder)
    assert code == 0
    assert "to double, as pipeline doubles gives it" in out


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--file", "captured.jsonl:2"), 1, "captured.jsonl has nothing in line 2"),
        (("--file", "captured.jsonl:9"), 1, "captured.jsonl has nothing in line 9"),
        (("--file", "captured.jsonl:5"), 1, "captured.jsonl:5: valeu: no such key; did you mean"),
        (("--file", "captured.jsonl:5"), 1, "captured.jsonl:5: offset: '7' is not a whole"),
        (("--file", "missing.jsonl:1"), 2, "File 'missing.jsonl' does not exist"),
        (("--file", "captured.jsonl", "orders/0/1"), 2, "give TOPIC/PARTITION/OFFSET, or a record"),
        ((), 2, "give TOPIC/PARTITION/OFFSET, or a record in a file with --file"),
    ],
)
def test_what_cannot_be_replayed_is_told(
    folder: Path, arguments: tuple[str, ...], code: int, text: str
) -> None:
    found, out, err = worker("replay", "--spec", "shop.yaml", *arguments, folder=folder)

    assert (found, out) == (code, "")
    assert text in " ".join(err.split())


def test_a_file_whose_name_ends_like_a_line_is_read_whole(folder: Path) -> None:
    (folder / "captured.jsonl").rename(folder / "captured:3")

    code, out, _ = worker("replay", "--file", "captured:3", "--spec", "shop.yaml", folder=folder)

    assert code == 0
    assert "orders/3/7" in out
