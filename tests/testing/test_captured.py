"""Captured files in tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.testing.driving import one, options
from worker.kafka.lines import Unreadable
from worker.kafka.written import object_of
from worker.testing import Driver, captured
from worker.types import Message

REAL = [
    Message.of(
        b'{"n": 1}', topic="source", partition=7, offset=99, key=b"k", headers=[("h", b"1")]
    ),
    Message.of(None, topic="source", partition=0, offset=100, timestamp=1_000),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "real.jsonl"
    file.write_text("\n\n".join(json.dumps(object_of(message)) for message in REAL))
    return file


def test_all_messages_are_read(file: Path) -> None:
    found = captured(file)

    assert [object_of(message) for message in found] == [object_of(message) for message in REAL]
    assert [object_of(message) for message in captured(str(file))] == [*map(object_of, REAL)]


def test_all_lines_that_hold_none_are_told_at_once(file: Path) -> None:
    file.write_text(f"{file.read_text()}\nnone\n{{}}\n")

    with pytest.raises(Unreadable) as caught:
        captured(file)

    first, second, third = str(caught.value).splitlines()
    assert first.startswith(f"{file}:4: it is no JSON")
    assert (second, third) == (
        f"{file}:5: value: it is missing; null is a record without one, a tombstone",
        f"{file}:5: topic: it is missing; a captured record says where it was",
    )


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=r"missing.jsonl cannot be read: No such file"):
        captured(tmp_path / "missing.jsonl")


def test_they_are_sent_to_a_driven_pipeline_as_they_were(file: Path, tmp_path: Path) -> None:
    def handle(payload: dict[str, int] | None, message: Message) -> dict[str, object]:
        header = [(name, (value or b"").decode()) for name, value in message.headers]
        return {"payload": payload, "headers": header, "timestamp": message.timestamp}

    with Driver(one(tmp_path), options(handle)) as driver:
        driver.send_all(captured(file)).run()

        first, second = driver.values("target")
        assert (first["payload"], first["headers"]) == ({"n": 1}, [["h", "1"]])
        assert (second["payload"], second["timestamp"]) == (None, 1_000)
        assert driver.topic("target")[0].key == b"k"
