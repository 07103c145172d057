"""`worker tap` as far as it goes without a broker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from tests.cli.rig import shop, worker
from worker.cli import main
from worker.cli.views.records import Decode, lines_of_record, value_of_record
from worker.types import Message

CONTROL = "\x1b[2J\u202e"


def shown(value: bytes | None, decode: Decode = "auto") -> list[str]:
    """What people see of a payload."""
    _, *lines = lines_of_record(Message.of(value), decode)
    return [line.removeprefix("  ") for line in lines]


def told(value: bytes | None, decode: Decode = "auto") -> object:
    """What programs get of a payload."""
    return value_of_record(Message.of(value), decode)["value"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "Missing argument 'TOPICS...'"),
        (("orders", "--from", "soon"), "'soon' is not a time with its zone such as"),
        (("orders", "--count", "0"), "0 is not in the range x>=1"),
        (("orders", "--where", "status"), "'status' is not FIELD=VALUE or /JSON/POINTER=VALUE"),
        (("orders", "--partition", "-1"), "-1 is not in the range x>=0"),
        (("a b",), "topic 'a b' is not legal"),
    ],
)
def test_a_wrong_command_line_is_told_with_what_is_legal(
    tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    code, out, err = worker("tap", *arguments, "--brokers", "127.0.0.1:1", folder=tmp_path)

    assert (code, out) == (2, "")
    assert text in " ".join(err.split())


def test_the_shell_completes_topics_of_the_spec(tmp_path: Path) -> None:
    shell = ShellComplete(main, {}, "worker", "_WORKER_COMPLETE")
    arguments = ["--spec", str(shop(tmp_path))]

    for command in ("tap", "produce"):
        found = shell.get_completions([command, *arguments], "ord")
        assert [one.value for one in found] == ["orders", "orders.dlq"]


def test_payloads_are_shown_to_people_as_what_they_are() -> None:
    assert shown(b'{"a":[1,"\xc3\xa9"]}') == ["{", '  "a": [', "    1,", '    "é"', "  ]", "}"]
    assert shown(b'{"a":1}', "text") == ['{"a":1}']
    assert shown(b"text") == ["text"]
    assert shown(b"7") == ["7"]
    assert shown(None) == ["null"]
    assert shown(b"\xff", "json") == [r"\xff"]
    assert shown(b"\x00\xff", "base64") == ["AP8="]


def test_long_payloads_are_cut_for_people_alone() -> None:
    payload = json.dumps({"text": "x" * 5_000}).encode()

    assert shown(payload)[-1] == f"... ({len(payload):,} bytes; all with --output json)"
    assert sum(map(len, shown(payload))) < 2_100
    assert told(payload) == payload.decode()


def test_programs_get_bytes_or_what_they_ask_for() -> None:
    assert told(b'{"a": 1}') == '{"a": 1}'
    assert told(b'{"a": 1}', "json") == {"a": 1}
    assert told(b"null", "json") is None
    assert told(b"{", "json") == "{"
    assert told(b'{"a": 1e999}', "json") == '{"a": 1e999}'
    assert told(b"NaN", "json") == "NaN"
    assert told(b"\xff") == {"base64": "/w=="}
    assert told(b"\xff", "text") == "\ufffd"
    assert told(b"a", "base64") == {"base64": "YQ=="}
    assert told(None, "base64") is None


@pytest.mark.parametrize("decode", ["auto", "json", "text", "base64"])
def test_nothing_of_a_record_changes_the_terminal(decode: Decode) -> None:
    nasty = CONTROL.encode()
    message = Message.of(
        json.dumps({CONTROL: CONTROL}, ensure_ascii=False).encode(),
        key=nasty,
        headers=[(CONTROL, nasty)],
    )

    lines = [*lines_of_record(message, decode), *lines_of_record(Message.of(nasty), decode)]

    assert not any(character in line for line in lines for character in "\x1b\u202e\n")
    assert any(r"\x1b[2J\u202e" in line for line in lines)
