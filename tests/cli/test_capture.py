"""`worker capture` as far as it goes without a broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.rig import worker
from worker import Message, Record
from worker.errors import ClientError
from worker.kafka.written import message_of
from worker.operate.capturing import Captured, NotCaptured, capture

HOOKS = """
from worker import Record

nothing = None

async def later(message):
    return Record(b"")
"""


def orders(*values: bytes | None) -> list[Message | None]:
    """Messages with a key and a header, and that none has come for a while."""
    made = [
        Message.of(value, topic="orders", offset=n, key=b"Ada", headers=[("h", b"1")], timestamp=n)
        for n, value in enumerate(values, 1)
    ]
    return [None, *made]


def read(file: Path) -> list[Message]:
    return [message_of(line) for line in file.read_bytes().splitlines()]


def test_each_message_is_a_line(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"

    done = capture(orders(b"a", None, b"\xff"), file)

    assert done == Captured(kept=3)
    assert [one.value for one in read(file)] == [b"a", None, b"\xff"]
    assert [one.offset for one in read(file)] == [1, 2, 3]
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_file_holds_is_replaced_only_once_all_is_captured(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text("old")

    def broken() -> Iterator[Message | None]:
        yield from orders(b"a")
        raise ClientError("away")

    with pytest.raises(ClientError):
        capture(broken(), file)
    assert file.read_text() == "old"

    capture(orders(b"a"), file)
    assert [one.value for one in read(file)] == [b"a"]
    assert list(tmp_path.iterdir()) == [file]


def test_nobody_else_can_read_what_is_captured(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    file.touch(0o666)

    capture(orders(b"a"), file)

    assert file.stat().st_mode & 0o777 == 0o600


def test_of_a_redacted_message_only_the_record_is_kept_in_its_place(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"

    capture(orders(b"secret"), file, lambda _: Record({"n": 1}, key=None))

    assert "secret" not in file.read_text()
    (found,) = read(file)
    assert (found.value, found.key, found.headers) == (b'{"n":1}', None, [])
    assert (found.topic, found.offset, found.timestamp) == ("orders", 1, 1)


def test_a_record_may_have_all_that_its_message_had(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"

    capture(orders(b"a"), file, lambda one: Record("\xe9", headers=one.headers, timestamp=7))

    (found,) = read(file)
    assert (found.value, found.key, found.headers) == ("\xe9".encode(), b"Ada", [("h", b"1")])
    assert found.timestamp == 7


def test_a_message_of_which_nothing_is_made_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"

    done = capture(
        orders(b"a", b"b"), file, lambda one: None if one.value == b"a" else Record(one.value)
    )

    assert done == Captured(kept=1, left_out=1)
    assert [one.value for one in read(file)] == [b"b"]


def fails(message: Message) -> Record:
    return Record(json.loads(message.value or b""))


@pytest.mark.parametrize(
    ("redact", "text"),
    [
        (fails, "it raised JSONDecodeError: "),
        (lambda _: {"value": 1}, "it gave dict, which is not legal; legal is a worker.Record"),
        (lambda _: Record(object()), "Type is not JSON serializable: object"),
        (lambda _: Record("\ud800"), "value is a text that UTF-8 cannot write; give bytes"),
        (lambda _: Record(b"", headers=[("", b"")]), "the name of a header is ''"),
        (lambda _: Record(b"", timestamp=-1), "timestamp is -1, which is not legal"),
    ],
)
def test_where_redaction_fails_nothing_is_written(
    tmp_path: Path, redact: Callable[[Message], Record], text: str
) -> None:
    file = tmp_path / "orders.jsonl"

    with pytest.raises(NotCaptured) as caught:
        capture(orders(b"{"), file, redact)

    where = "nothing is written, since --redact failed at orders/0/1: "
    assert str(caught.value).startswith(where + text)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("missing/orders.jsonl", "No such file or directory"),
        ("file/orders.jsonl", "Not a directory"),
        ("o" * 255, "File name too long"),
    ],
)
def test_a_file_that_cannot_be_written_is_told(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(NotCaptured, match=f"cannot be written: {why}"):
        capture(orders(b"a"), tmp_path / name)


@pytest.mark.parametrize(
    ("hook", "text"),
    [
        ("hooks", "'hooks' is not MODULE:FUNCTION such as tests.privacy:without_names"),
        ("hook:later", "no module 'hook' (looked last in "),
        ("hooks:latest", "hooks has no function 'latest'; did you mean 'later'?"),
        ("hooks:nothing", "hooks has no function 'nothing'"),
        ("hooks:later", "hooks:later is async; legal is a plain function of one Message"),
    ],
)
def test_a_hook_that_cannot_be_is_refused_before_anything_is_read(
    tmp_path: Path, hook: str, text: str
) -> None:
    (tmp_path / "hooks.py").write_text(HOOKS)

    code, out, err = worker(
        *("capture", "orders", "--out", "orders.jsonl", "--redact", hook),
        *("--brokers", "127.0.0.1:1"),
        folder=tmp_path,
    )

    assert (code, out) == (2, "")
    assert text in " ".join(err.split())
