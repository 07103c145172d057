"""`worker capture` on a real Kafka, and what its files are for."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.rig import environment, worker
from tests.system.rig import DEADLINE, Kafka, unique
from worker.kafka.written import message_of

pytestmark = pytest.mark.kafka

RECORDS = ((b"\x00\xff", b"\xfe"), (b'{"a": 1.10}', None), (None, b"k"), (b"", b""))

HOOKS = """
from worker import Record

def nameless(message):
    return Record(b"***", key=None) if message.key == b"Ada" else Record(message.value)
"""


@pytest.fixture
def topic(kafka: Kafka) -> str:
    """A topic with records of every kind, one a partition."""
    name = unique("captured")
    kafka.create(name)
    producer = kafka.producer()
    for number, (value, key) in enumerate(RECORDS):
        headers: list[tuple[str, str | bytes | None]] = [("h", b"\xff"), ("h", None), ("t", b"1")]
        producer.produce(name, value, key, number, headers=headers, timestamp=number + 1)
    assert producer.flush(DEADLINE) == 0
    return name


def test_what_was_captured_can_be_produced_again_as_it_was(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    copy = unique("copy")
    kafka.create(copy)
    brokers = ("--brokers", kafka.address)

    code, out, err = worker(
        *("capture", topic, "--out", "all.jsonl", "--from", "oldest", "--no-follow", *brokers),
        folder=tmp_path,
    )
    assert (code, out, err) == (0, "all.jsonl: 4 messages\n", "")
    given = ("produce", copy, "all.jsonl", "--format", "json")
    code, _, err = worker(*given, *brokers, folder=tmp_path)
    assert (code, err) == (0, "")

    def records(name: str) -> list[tuple[object, ...]]:
        found = sorted(kafka.read(name), key=lambda one: one.partition() or 0)
        return [(m.partition(), m.key(), m.value(), m.headers(), m.timestamp()) for m in found]

    assert records(copy) == records(topic) != []


def test_no_more_is_captured_than_is_asked_for_and_the_rest_is_redacted(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    (tmp_path / "hooks.py").write_text(HOOKS)
    kafka.produce(topic, [(b"Ada", b"secret", 0), (b"Ada", b"secret", 0), (b"Ada", b"secret", 0)])

    code, out, err = worker(
        *("capture", topic, "--out", "some.jsonl", "--from", "oldest", "--key", "Ada"),
        *("--count", "2", "--redact", "hooks:nameless", "--output", "json"),
        folder=tmp_path,
        WORKER_BROKERS=kafka.address,
    )

    assert (code, err) == (0, f"{topic}: 4 partitions, Ctrl-C ends\n")
    assert json.loads(out) == {"file": "some.jsonl", "messages": 2, "left_out": 0}
    found = [message_of(line) for line in (tmp_path / "some.jsonl").read_bytes().splitlines()]
    assert [(one.offset, one.key, one.value) for one in found] == [
        (1, None, b"***"),
        (2, None, b"***"),
    ]


def test_a_signal_ends_it_with_what_has_come_so_far(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    file = tmp_path / "so-far.jsonl"
    arguments = ("capture", topic, "--out", str(file), "--brokers", kafka.address)
    with subprocess.Popen(
        [sys.executable, "-m", "worker", *arguments, "--from", "oldest"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert "Ctrl-C ends" in process.stderr.readline()

        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE)

    assert (process.returncode, err) == (0, "")
    kept = len(file.read_bytes().splitlines())
    assert out == f"{file}: {kept} messages\n"


def test_a_topic_that_is_not_there_leaves_no_file(kafka: Kafka, tmp_path: Path) -> None:
    code, out, err = worker(
        *("capture", unique("missing"), "--out", "none.jsonl", "--brokers", kafka.address),
        folder=tmp_path,
    )

    assert (code, out) == (1, "")
    assert "`worker topics create` makes it" in err
    assert list(tmp_path.iterdir()) == []
