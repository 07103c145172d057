from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from worker.cli.feed import Feed, Feeder, feeds_of
from worker.kafka.embedded import EmbeddedBroker
from worker.kafka.reader import Reader
from worker.kafka.written import key_of
from worker.settings import KafkaSettings

CONTENT = b'{"id": "a"}\n\n{"id": 7}\r\nnot json\n{"id": "last"}'
LINES = [b'{"id": "a"}', b'{"id": 7}', b"not json", b'{"id": "last"}']


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaSettings]:
    with EmbeddedBroker() as broker:
        yield KafkaSettings.model_validate({"brokers": broker.address})


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (b'{"id": "N14228"}', b"N14228"),
        (b'{"id": 7}', b"7"),
        (b'{"id": true}', b"true"),
        (b'{"id": null}', None),
        (b'{"other": 1}', None),
        (b'["id"]', None),
        (b'{"id": ', None),
        (b"\xff", None),
    ],
)
def test_the_key_is_the_field_as_text_where_there_is_one(line: bytes, key: bytes | None) -> None:
    assert key_of(line, "id") == key


@pytest.mark.parametrize(
    ("files", "keys", "text"),
    [
        ([("typo", "x")], [], "no pipeline that runs reads 'typo'; they read orders"),
        ([("orders", "missing")], [], "'missing' is not a file"),
        ([], [("orders", "id")], "'orders' has no --feed"),
    ],
)
def test_a_feed_that_cannot_work_is_refused(
    files: list[tuple[str, str]], keys: list[tuple[str, str]], text: str
) -> None:
    with pytest.raises(click.UsageError, match=text):
        feeds_of(files, keys, {"orders"})


def test_everything_that_is_fed_is_in_the_topic_under_its_key(
    tmp_path: Path, kafka: KafkaSettings
) -> None:
    (tmp_path / "feed").write_bytes(CONTENT)
    feeder = Feeder(kafka, [Feed("fed", tmp_path / "feed", "id")])

    feeder.start()
    assert feeder.done.wait(30)
    feeder.end()

    with Reader(kafka) as reader:
        found = sorted((m.value or b"", m.key or b"") for m in reader.records("fed"))
    assert feeder.failed is None
    assert feeder.sent == {"fed": 4}
    assert found == sorted(zip(LINES, [b"a", b"7", b"", b"last"], strict=True))


def test_a_feed_that_breaks_off_is_done_and_says_why(tmp_path: Path, kafka: KafkaSettings) -> None:
    file = tmp_path / "cut.gz"
    file.write_bytes(gzip.compress(CONTENT)[:-12])
    feeder = Feeder(kafka, [Feed("cut", file)])

    feeder.start()

    assert feeder.done.wait(30)
    assert "cannot be read" in str(feeder.failed)
    feeder.end()


def test_a_line_that_is_too_large_is_told_with_its_file_and_number(
    tmp_path: Path, kafka: KafkaSettings
) -> None:
    file = tmp_path / "feed"
    file.write_bytes(b"1\n\n" + b"x" * 3_000_000 + b"\n")
    feeder = Feeder(kafka, [Feed("large", file)])

    feeder.start()
    assert feeder.done.wait(30)
    feeder.end()

    assert str(feeder.failed).startswith(f"{file}:3: MSG_SIZE_TOO_LARGE")
