"""Whatever a handler raises or returns is a failure of its message, never of the pipeline."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.rig import Rig
from worker.errors import Reject
from worker.types import Record

DEAD_LETTERS = {"dead_letter": {"default": "dlq", "message": True}}


class Silent(Exception):
    """An exception that cannot say what it is about."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Bare(Reject):
    """A rejection that says nothing at all."""

    def __init__(self) -> None:
        pass


def letters(rig: Rig) -> list[dict[str, bytes | None]]:
    """The headers of the dead letters, once everything is handled and the pipeline goes on."""
    rig.step()
    assert rig.runner.failed is None
    assert rig.runner.blocked is None
    assert not rig.runner.pressure.messages
    return [dict(letter.headers) for letter in rig.broker.records("dlq")]


@pytest.mark.parametrize(
    ("error", "reason", "text"),
    [
        (Reject(404), b"rejected", b"404"),
        (Reject({"a": 1}), b"rejected", b"{'a': 1}"),
        (Reject(b"x"), b"rejected", b"b'x'"),
        (Reject("\ud800"), b"rejected", b"\\ud800"),
        (Bare(), b"rejected", None),
        (ValueError("a\udfffb"), b"handler_error", b"a\\udfffb"),
        (Silent(), b"handler_error", b"(its text cannot be had: RuntimeError)"),
    ],
    ids=["number", "dict", "bytes", "surrogate", "bare", "error", "silent"],
)
def test_an_exception_becomes_a_dead_letter_whatever_it_has_to_say(
    error: Exception, reason: bytes, text: bytes | None
) -> None:
    def failing(payload: Any) -> None:
        raise error

    rig = Rig(failing, DEAD_LETTERS)
    rig.send("1")

    (headers,) = letters(rig)

    assert (headers["dlq.reason"], headers.get("dlq.message")) == (reason, text)
    assert rig.committed() == 1


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (Record(1, partition=99), b"a result for partition 99 of target, which has 2"),
        (Record(1, partition=2**40), b"a result for partition 1099511627776 of target, which has"),
        (Record(1, partition=-1), b"a partition is None or a whole number from 0"),
        (Record(1, partition="x"), b"a partition is None or a whole number from 0"),  # type: ignore[arg-type]
        (Record(1, timestamp="now"), b"a timestamp is None or milliseconds since 1970"),  # type: ignore[arg-type]
        (Record(1, timestamp=0), b"a timestamp is None or milliseconds since 1970"),
        (Record(1, timestamp=2**70), b"a timestamp is None or milliseconds since 1970"),
        (Record(1, timestamp=-1), b"a timestamp is None or milliseconds since 1970"),
        (Record(1, key=5), b"a key is bytes, str or None, not int"),  # type: ignore[arg-type]
        (Record(1, headers=[("a", 5)]), b"a header is bytes, str or None, not int"),  # type: ignore[list-item]
        (Record(1, headers=[("a", "\ud800")]), b"'utf-8' codec can't encode"),
    ],
)
def test_a_record_that_no_client_takes_becomes_a_dead_letter(record: Record, text: bytes) -> None:
    def awkward(payload: Any) -> Record:
        return record

    rig = Rig(awkward, DEAD_LETTERS, partitions=2)
    rig.send("1")

    (headers,) = letters(rig)

    assert headers["dlq.reason"] == b"unencodable"
    assert (headers["dlq.message"] or b"").startswith(text)


def test_keys_and_headers_of_any_kind_of_bytes_are_sent_as_bytes() -> None:
    def result(payload: Any) -> Record:
        return Record(
            1,
            key=bytearray(b"k"),  # type: ignore[arg-type]
            headers=[("a", memoryview(b"v")), ("b", "w"), ("c", None)],  # type: ignore[list-item]
            partition=1,
            timestamp=1,
        )

    rig = Rig(result, DEAD_LETTERS, partitions=2)
    rig.send("1")

    assert letters(rig) == []
    (record,) = rig.broker.records("target")
    assert (record.key, record.headers) == (b"k", [("a", b"v"), ("b", b"w"), ("c", None)])
    assert (record.partition, record.timestamp) == (1, 1)
