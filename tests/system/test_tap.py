"""`worker tap` on a real Kafka."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._resource import ResourceType  # not re-exported for type checkers

from tests.cli.rig import environment, worker
from tests.system.guarded import USE, Guarded
from tests.system.rig import DEADLINE, Kafka, unique
from tests.system.test_transactions import write

pytestmark = pytest.mark.kafka


@pytest.fixture
def topic(kafka: Kafka) -> str:
    name = unique("tapped")
    kafka.create(name)
    return name


@pytest.fixture
def orders(kafka: Kafka, topic: str) -> str:
    producer = kafka.producer()
    for number in range(4):
        value = json.dumps({"n": number, "even": number % 2 == 0}).encode()
        headers: list[tuple[str, str | bytes | None]] = [("h", str(number).encode())]
        at = 1_700_000_000_000 + number * 1_000
        producer.produce(topic, value, f"k{number}", number, headers=headers, timestamp=at)
    assert producer.flush(DEADLINE) == 0
    return topic


def tapped(kafka: Kafka, topic: str, *arguments: str) -> list[dict[str, Any]]:
    """What it prints of what is there now."""
    given = ("--from", "oldest", "--no-follow", "--output", "json", "--brokers", kafka.address)
    code, out, err = worker("tap", topic, *given, *arguments, folder=Path.cwd())
    assert (code, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


def keys(messages: list[dict[str, Any]]) -> list[str]:
    return sorted(message["key"] for message in messages)


@contextmanager
def following(
    kafka: Kafka, *arguments: str, spec: Path | None = None
) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, which knows where it begins by now."""
    cluster = ("--brokers", kafka.address) if spec is None else ("--spec", str(spec))
    with subprocess.Popen(
        [sys.executable, "-m", "worker", "tap", *arguments, *cluster],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert "partitions, Ctrl-C ends" in _of(process.stderr).readline()
        try:
            yield process
        finally:
            process.kill()


def _of(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def test_messages_are_told_with_all_that_they_hold(kafka: Kafka, orders: str) -> None:
    found = tapped(kafka, orders, "--key", "k1")

    assert found == [
        {
            "topic": orders,
            "partition": 1,
            "offset": 0,
            "timestamp": 1_700_000_001_000,
            "key": "k1",
            "value": '{"n": 1, "even": false}',
            "headers": [["h", "1"]],
        }
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--key", "k1", "--key", "k3"), ["k1", "k3"]),
        (("--partition", "2"), ["k2"]),
        (("--header", "h=3"), ["k3"]),
        (("--header", "h"), ["k0", "k1", "k2", "k3"]),
        (("--contains", '"n": 2'), ["k2"]),
        (("--where", "even=true", "--where", "/n=2"), ["k2"]),
        (("--where", "even=true"), ["k0", "k2"]),
        (("--from", "2023-11-14T22:13:22Z"), ["k2", "k3"]),
    ],
)
def test_filters_leave_the_others_out(
    kafka: Kafka, orders: str, arguments: tuple[str, ...], expected: list[str]
) -> None:
    assert keys(tapped(kafka, orders, *arguments)) == expected


def test_it_ends_after_so_many(kafka: Kafka, orders: str) -> None:
    assert len(tapped(kafka, orders, "--count", "3")) == 3


def test_several_topics_are_read_together(kafka: Kafka, orders: str) -> None:
    other = unique("tapped")
    kafka.create(other)
    kafka.produce(other, [(b"other", b"{}", 0)])

    assert keys(tapped(kafka, orders, other, orders)) == ["k0", "k1", "k2", "k3", "other"]


def test_people_see_places_that_other_commands_take(kafka: Kafka, orders: str) -> None:
    place = ("--from", "oldest", "--no-follow", "--key", "k1", "--brokers", kafka.address)

    code, out, _ = worker("tap", orders, *place, folder=Path.cwd())

    assert code == 0
    assert out.splitlines() == [
        f"{orders}/1/0  2023-11-14T22:13:21+00:00  key k1",
        "  h: 1",
        "  {",
        '    "n": 1,',
        '    "even": false',
        "  }",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_follows_from_the_end_until_a_signal(kafka: Kafka, orders: str, number: int) -> None:
    with following(kafka, orders, "--output", "json") as process:
        kafka.produce(orders, [(b"later", b"{}", 1)])
        assert json.loads(_of(process.stdout).readline())["key"] == "later"
        process.send_signal(number)

        assert process.wait(60) == 0
        assert _of(process.stdout).read() == ""
        assert _of(process.stderr).read() == ""


def test_it_ends_when_nobody_reads_any_more_what_it_prints(kafka: Kafka, topic: str) -> None:
    kafka.produce(topic, [(b"k", b"x" * 1_000, 0)] * 2_000)

    with following(kafka, topic, "--from", "oldest", "--output", "json") as process:
        assert json.loads(_of(process.stdout).readline())["key"] == "k"
        _of(process.stdout).close()

        assert process.wait(60) == 0
        assert _of(process.stderr).read() == ""


def test_it_ends_when_nobody_reads_any_more_and_no_message_comes(kafka: Kafka, orders: str) -> None:
    with following(kafka, orders, "--output", "json") as process:
        _of(process.stdout).close()

        assert process.wait(60) == 0
        assert _of(process.stderr).read() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
def test_output_that_cannot_be_written_is_told_in_a_sentence(kafka: Kafka, orders: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "worker", "tap", orders, "--from", "oldest", "--no-follow"],
            env=environment(WORKER_BROKERS=kafka.address),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    words = "Error: standard output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, words)


def test_partitions_that_come_later_are_followed_from_their_beginning(
    kafka: Kafka, topic: str
) -> None:
    with following(kafka, topic, "--output", "json") as process:
        kafka.grow(topic, 5)
        kafka.produce(topic, [(b"fresh", b"{}", 4)])

        found = json.loads(_of(process.stdout).readline())

    assert (found["partition"], found["offset"], found["key"]) == (4, 0, "fresh")


def test_what_is_not_committed_is_left_out_unless_asked_for(kafka: Kafka, topic: str) -> None:
    write(kafka, topic, 1, 4)
    running = kafka.producer({"transactional.id": unique("open")})
    running.init_transactions(30)
    running.begin_transaction()
    running.produce(topic, b"open", partition=1)
    assert running.flush(30) == 0

    committed = tapped(kafka, topic)
    everything = tapped(kafka, topic, "--isolation", "read_uncommitted")
    running.abort_transaction(30)

    assert len(everything) > len(committed)
    assert "open" in {one["value"] for one in everything} - {one["value"] for one in committed}


def test_no_group_is_made(kafka: Kafka, orders: str) -> None:
    tapped(kafka, orders)

    groups = AdminClient({"bootstrap.servers": kafka.address}).list_consumer_groups().result()
    assert not any(one.group_id.startswith("stream-worker") for one in groups.valid)


def test_what_was_tapped_can_be_produced_again_as_it_was(kafka: Kafka, topic: str) -> None:
    copy = unique("copy")
    kafka.create(copy)
    producer = kafka.producer()
    for number, value in enumerate((b"\x00\xff", b'{"a": 1.10}', None, b"")):
        headers: list[tuple[str, str | bytes | None]] = [("h", b"\xff"), ("h", None)]
        producer.produce(topic, value, b"\xfe", number, headers=headers, timestamp=number + 1)
    assert producer.flush(DEADLINE) == 0

    lines = "\n".join(map(json.dumps, tapped(kafka, topic)))
    subprocess.run(
        [sys.executable, "-m", "worker", "produce", copy, "--format", "json"],
        env=environment(WORKER_BROKERS=kafka.address),
        input=lines.encode(),
        timeout=120,
        check=True,
    )

    def records(name: str) -> list[tuple[Any, ...]]:
        found = sorted(kafka.read(name), key=lambda one: one.partition() or 0)
        return [(m.partition(), m.key(), m.value(), m.headers(), m.timestamp()) for m in found]

    assert records(copy) == records(topic) != []


def test_a_user_needs_no_right_but_to_read_the_topic(guarded: Guarded, tmp_path: Path) -> None:
    topic = unique("secret")
    guarded.kafka.create(topic)
    guarded.kafka.produce(topic, [(b"k", b"v", 0)])
    spec = {"version": 1, "name": "t", "kafka": guarded.settings, "handlers": ["nowhere"]}
    pipelines = {"p": {"from": topic, "handler": "h"}}
    file = tmp_path / "spec.yaml"
    file.write_text(json.dumps({**spec, "pipelines": pipelines}))
    given = ("tap", topic, "--from", "oldest", "--no-follow", "--spec", file)

    code, out, err = worker(*given, folder=tmp_path)
    assert (code, out) == (1, "")
    assert "does not exist" in err or "TOPIC_AUTHORIZATION_FAILED" in err

    describe, read, _ = USE
    guarded.grant(topic, ResourceType.TOPIC, [describe, read])
    code, out, err = worker(*given, folder=tmp_path)
    assert (code, err) == (0, "")
    assert out.startswith(f"{topic}/0/0  ")
    with following(guarded.kafka, topic, "--output", "json", spec=file) as process:
        for number in range(1, 4):
            guarded.kafka.produce(topic, [(b"k", b"v", 0)])
            assert json.loads(_of(process.stdout).readline())["offset"] == number


def test_a_time_may_be_how_long_ago_it_was(kafka: Kafka, topic: str) -> None:
    now = int(time.time() * 1_000)
    producer = kafka.producer()
    for minutes in (50, 5):
        producer.produce(topic, str(minutes), partition=0, timestamp=now - minutes * 60_000)
    assert producer.flush(DEADLINE) == 0

    assert [one["value"] for one in tapped(kafka, topic, "--from", "10m")] == ["5"]
    at = datetime.fromtimestamp(now / 1000 - 3_600, UTC).isoformat()
    assert [one["value"] for one in tapped(kafka, topic, "--from", at)] == ["50", "5"]
