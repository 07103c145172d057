"""`worker produce` on a real Kafka."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._resource import ResourceType  # not re-exported for type checkers
from confluent_kafka.cimpl import NewTopic

from tests.cli.rig import environment, worker
from tests.system.guarded import USE, Guarded
from tests.system.rig import Kafka, unique
from worker import Kafka as Client
from worker.kafka.written import plain
from worker.operate.producing import Production
from worker.settings import KafkaSettings
from worker.settings.values import WRITTEN

pytestmark = pytest.mark.kafka

Reply = tuple[int, str, str]


@pytest.fixture
def topic(kafka: Kafka) -> str:
    name = unique("lines")
    kafka.create(name)
    return name


def produce(kafka: Kafka, topic: str, *arguments: str | Path, given: bytes = b"") -> Reply:
    done = subprocess.run(
        [sys.executable, "-m", "worker", "produce", topic, *map(str, arguments)],
        env=environment(WORKER_BROKERS=kafka.address),
        input=given,
        capture_output=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def made(kafka: Kafka, name: str, **config: str) -> str:
    topic = unique("lines")
    client = AdminClient({"bootstrap.servers": kafka.address})
    settings = {key.replace("_", "."): value for key, value in config.items()}
    client.create_topics([NewTopic(topic, 1, -1, config=settings)])[topic].result()
    return topic


def read(kafka: Kafka, topic: str) -> set[tuple[bytes | None, bytes | None]]:
    return {(one.key(), one.value()) for one in kafka.read(topic)}


def test_each_line_of_a_file_is_a_value(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    file = tmp_path / "lines.gz"
    file.write_bytes(gzip.compress(b'{"id": "a"}\n\n{"id": 7}\r\nno json'))

    code, out, err = produce(kafka, topic, file, "--key-field", "id")

    assert (code, out, err) == (0, f"{topic}: 3 of 3 lines acknowledged\n", "")
    assert read(kafka, topic) == {
        (b"a", b'{"id": "a"}'),
        (b"7", b'{"id": 7}'),
        (None, b"no json"),
    }


def test_lines_of_standard_input_may_have_their_key_in_front(kafka: Kafka, topic: str) -> None:
    code, out, _ = produce(
        kafka, topic, "--key-separator", r"\t", "--output", "json", given=b"k\tv\nw\n"
    )

    assert code == 1
    assert json.loads(out) == {
        "topic": topic,
        "lines": 2,
        "acknowledged": 1,
        "failed": 1,
        "ended_after": None,
    }
    assert read(kafka, topic) == {(b"k", b"v")}


def test_objects_say_everything_of_their_records(kafka: Kafka, topic: str) -> None:
    lines = [
        {"value": {"n": 1}, "key": "k", "headers": {"h": "1"}, "partition": 2, "timestamp": 1},
        {"value": None, "key": {"base64": "AP8="}, "partition": 3},
    ]

    code, _, err = produce(
        kafka, topic, "--format", "json", given="\n".join(map(json.dumps, lines)).encode()
    )

    assert (code, err) == (0, "")
    first, second = sorted(kafka.read(topic), key=lambda one: one.partition() or 0)
    assert (first.partition(), first.value(), first.key()) == (2, b'{"n":1}', b"k")
    assert (first.headers(), first.timestamp()[1]) == ([("h", b"1")], 1)
    assert (second.partition(), second.value(), second.key()) == (3, None, b"\x00\xff")


def test_lines_that_cannot_be_sent_are_told_by_number_and_the_others_are_sent(
    kafka: Kafka,
) -> None:
    topic = made(kafka, "small", max_message_bytes="2000")
    lines = ['{"value": "a"}', "\x1b[2J", '{"value": 1, "partition": 7}', "", '{"key": 1}']
    lines += [json.dumps({"value": "x" * 3_000}), '{"value": "b"}']

    code, out, err = produce(kafka, topic, "--format", "json", given="\n".join(lines).encode())

    assert (code, out) == (1, f"{topic}: 2 of 6 lines acknowledged, 4 failed\n")
    assert {line.split(" ", 2)[1].split(":")[1] for line in err.splitlines()} == {
        "2",
        "3",
        "5",
        "6",
    }
    assert "input:2: it is no JSON: " in err
    assert f"input:3: topic {topic} has no partition 7; legal are 0 to 0" in err
    assert "input:5: value: it is missing" in err
    assert "input:5: key: it is a number" in err
    assert f"input:6: a record for {topic} was not delivered: MSG_SIZE_TOO_LARGE" in err
    assert read(kafka, topic) == {(None, b"a"), (None, b"b")}


def test_lines_that_could_not_be_sent_are_kept_as_they_are(kafka: Kafka, tmp_path: Path) -> None:
    topic, rejects = made(kafka, "small", max_message_bytes="2000"), tmp_path / "rejects"
    large = json.dumps({"value": "x" * 3_000}).encode()
    lines = b'{"value": "a"}\n' + large + b"\n\xff\n"

    arguments = ("--format", "json", "--rejects", rejects)
    assert produce(kafka, topic, *arguments, given=b'{"value": "a"}')[0] == 0
    assert not rejects.exists()
    assert produce(kafka, topic, *arguments, given=lines)[0] == 1
    assert sorted(rejects.read_bytes().splitlines()) == [large, b"\xff"]

    code, _, err = produce(kafka, topic, rejects, *arguments)
    assert (code, "--rejects: it is the file that is read" in " ".join(err.split())) == (2, True)
    assert rejects.stat().st_size > 3_000


def test_records_that_are_refused_together_are_all_told(kafka: Kafka) -> None:
    topic = made(kafka, "compacted", cleanup_policy="compact")

    code, out, err = produce(kafka, topic, "--key-separator", ":", given=b"k:v\nno key\n")
    assert (code, out) == (1, f"{topic}: 1 of 2 lines acknowledged, 1 failed\n")

    code, out, err = produce(kafka, topic, given=b"no key\n")
    assert (code, out) == (1, f"{topic}: 0 of 1 lines acknowledged, 1 failed\n")
    assert "takes no record without a key (records that were sent together" in err


def test_a_file_that_is_cut_off_is_sent_as_far_as_it_goes(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    file = tmp_path / "cut.gz"
    file.write_bytes(gzip.compress(b"first\nlast", compresslevel=0)[:-12])

    code, out, err = produce(kafka, topic, file)

    assert code == 1
    assert out == f"{topic}: 1 of 1 lines acknowledged\n"
    assert "ended after line 1: what follows was not sent" in err
    assert f"Error: {file} cannot be read: " in err
    assert len(read(kafka, topic)) == 1


def test_a_signal_ends_it_with_what_was_read_acknowledged(kafka: Kafka, topic: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "worker", "produce", topic],
        env=environment(WORKER_BROKERS=kafka.address),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b"a\nb\n")
        process.stdin.flush()
        while not kafka.read(topic):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 1
        assert process.stdout is not None
        assert process.stdout.read() == f"{topic}: 2 of 2 lines acknowledged\n".encode()
        assert process.stderr is not None
        assert process.stderr.read() == b"ended after line 2: what follows was not sent\n"


def test_a_terminal_shows_how_far_it_is(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"line\n" * 2_000)
    end, inner = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "worker", "produce", topic, str(file)],
        env=environment(WORKER_BROKERS=kafka.address, TERM="xterm"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=inner,
        timeout=120,
        check=True,
    )
    os.close(inner)
    shown = os.read(end, 65_536).decode()
    os.close(end)

    assert done.stdout.decode() == f"{topic}: 2,000 of 2,000 lines acknowledged\n"
    assert "sending" in shown
    assert "100%" in shown


def test_a_terminal_shows_how_far_it_was_when_it_was_stopped(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"line\n" * 5_000_000)
    end, inner = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "worker", "produce", topic, str(file)],
        env=environment(WORKER_BROKERS=kafka.address, TERM="xterm"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=inner,
    ) as process:
        shown = ""
        while "%" not in shown:
            shown += os.read(end, 65_536).decode()
        process.send_signal(signal.SIGINT)
        while "what follows was not sent" not in shown:
            shown += os.read(end, 65_536).decode()
        assert process.wait(60) == 1
    os.close(inner)
    os.close(end)

    assert "100%" not in shown


def test_a_topic_that_is_not_there_is_not_made(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    near = f"{topic[:-1]}~".replace("~", "x")

    code, out, err = produce(kafka, near, given=b"a\n")

    assert (code, out) == (1, "")
    assert (
        f"Error: topic {near} does not exist, or is not shown to this user; did you mean '{topic}'?"
        in err
    )
    code, _, err = worker("produce", "a b", "--brokers", kafka.address, folder=tmp_path)
    assert code == 2
    assert "topic 'a b' is not legal" in err


def test_a_user_needs_no_right_but_to_write_to_the_topic(guarded: Guarded, tmp_path: Path) -> None:
    topic = unique("guarded")
    guarded.kafka.create(topic)
    spec = {"version": 1, "name": "t", "kafka": guarded.settings, "handlers": ["nowhere"]}
    pipelines = {"p": {"from": topic, "handler": "h"}}
    file, lines = tmp_path / "spec.yaml", tmp_path / "lines"
    file.write_text(json.dumps({**spec, "pipelines": pipelines}))
    lines.write_text("a\nb\n")
    describe, _, write = USE

    guarded.grant(topic, ResourceType.TOPIC, [describe])
    code, out, err = worker("produce", topic, lines, "--spec", file, folder=tmp_path)
    assert (code, out) == (1, f"{topic}: 0 of 2 lines acknowledged, 2 failed\n")
    assert "authorization failed" in err, err

    guarded.grant(topic, ResourceType.TOPIC, [write])
    code, out, err = worker("produce", topic, lines, "--spec", file, folder=tmp_path)
    assert (code, out, err) == (0, f"{topic}: 2 of 2 lines acknowledged\n", "")


def test_what_ends_for_all_lines_ends_it_and_the_rest_is_not_read(kafka: Kafka, topic: str) -> None:
    told: list[int] = []
    read_on = itertools.count(1)

    def lines() -> Iterator[tuple[int, bytes]]:
        for number in read_on:
            yield number, b"x"
            if number == 5:
                kafka.delete(topic)

    settings = {"brokers": kafka.address, "producer": {"delivery_timeout": "1s"}}
    with Client(KafkaSettings.model_validate(settings, context=WRITTEN)) as client:
        production = Production(
            client, plain(topic, None, None), lambda number, _line, _why: told.append(number)
        )
        production.run(lines())

    assert production.broken
    assert production.acknowledged + production.failed == production.lines == production.last
    assert production.failed == len(told) > 0
    assert next(read_on) == production.last + 1
