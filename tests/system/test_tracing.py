"""Traces of worker processes on a real Kafka, as a receiver of OTLP sees them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message

from tests.console import PRODUCER
from tests.otlp import Received, receiver
from tests.system.rig import DEADLINE, ROOT, Kafka, Spec, Worker, free_port, is_through
from worker.kafka.java import find_kafka

pytestmark = pytest.mark.kafka

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"
CONTINUED = {"tracing": {"incoming": "parent"}}


@pytest.fixture(params=["http", "grpc"])
def received(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with receiver(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def over_http(tmp_path: Path) -> Any:
    with receiver("http", tmp_path) as found:
        yield found


def environment(received: Received, protocol: str = "http/protobuf") -> Mapping[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": received.address,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_INSECURE": "true",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_TRACES_SAMPLER": "parentbased_always_off",
    }


def started(spec: Spec, environ: Mapping[str, str], *arguments: str, **changes: Any) -> Worker:
    port = free_port()
    return Worker(spec.written(server={"port": port}, **changes), port, environ, arguments)


def send(kafka: Kafka, topic: str, *values: Any, traceparent: str = SAMPLED) -> None:
    producer = kafka.producer()
    for value in values:
        producer.produce(
            topic, json.dumps(value), partition=0, headers=[("traceparent", traceparent)]
        )
    assert producer.flush(DEADLINE) == 0


def traceparent(message: Message) -> str:
    headers: Sequence[tuple[str, str | bytes | None]] = list(message.headers() or [])  # type: ignore[arg-type]
    (found,) = [value for name, value in headers if name == "traceparent"]
    assert isinstance(found, bytes)
    return found.decode()


def test_the_trace_of_kafkas_java_client_goes_on_to_the_receiver_and_into_the_result(
    kafka: Kafka, tmp_path: Path, received: Received
) -> None:
    spec = Spec(kafka, tmp_path, "echo")
    spec.create_topics()
    done = find_kafka().tool(
        PRODUCER,
        [
            *("--bootstrap-server", kafka.address, "--topic", spec.source),
            *("--property", "parse.headers=true", "--property", "headers.delimiter=|"),
            *("--property", "headers.separator=;"),
        ],
        input=f'traceparent:{SAMPLED}|{{"id":1}}\n'.encode(),
        timeout=90,
    )
    assert done.returncode == 0, done.stderr.decode()

    with started(spec, environment(received, received.protocol), **CONTINUED) as worker:
        worker.until(lambda: is_through(kafka, spec, 1))
        assert worker.stop() == 0

    process, send = f"process {spec.source}", f"send {spec.target}"
    received.until(lambda: {process, send} <= {*received.names})
    (processed,), (sent,) = received.named(process), received.named(send)
    assert (processed["trace"], processed["parent"]) == (TRACE, PARENT)
    assert (sent["trace"], sent["parent"]) == (TRACE, processed["span"])
    assert processed["resource"]["service.name"] == spec.name
    assert processed["scope"] == "stream-worker"
    (result,) = kafka.read(spec.target)
    assert traceparent(result) == f"00-{TRACE}-{sent['span']}-01"


@pytest.mark.parametrize(
    ("handler", "settings"),
    [
        ("spans", {}),
        ("spans_async", {}),
        ("spans", {"pool": "process", "concurrency": 1}),
        ("spans", {"delivery": "exactly_once"}),
    ],
    ids=["sync", "async", "in a process", "exactly once"],
)
def test_spans_of_handlers_are_part_of_the_trace_of_a_message_that_is_followed_and_of_no_other(
    kafka: Kafka, tmp_path: Path, over_http: Received, handler: str, settings: dict[str, Any]
) -> None:
    spec = Spec(kafka, tmp_path, handler, settings)
    spec.create_topics()
    send(kafka, spec.source, {"id": 0}, traceparent=UNSAMPLED)
    send(kafka, spec.source, {"id": 1})
    send(kafka, spec.source, {"id": 2}, traceparent=UNSAMPLED)
    environ = {**environment(over_http), "OTEL_TRACES_SAMPLER": "parentbased_always_on"}

    with started(spec, environ) as worker:
        worker.until(lambda: is_through(kafka, spec, 3))
        assert worker.stop() == 0

    process = f"process {spec.source}"
    over_http.until(lambda: {process, "own", f"commit {spec.source}"} <= {*over_http.names})
    (processed,), (own,) = over_http.named(process), over_http.named("own")
    assert processed["links"] == [[TRACE, PARENT]]
    assert processed["attributes"]["payload"] == 1
    assert own["parent"] == processed["span"]
    (sent,) = over_http.named(f"send {spec.target}")
    assert sent["parent"] == processed["span"]
    (commit,) = over_http.named(f"commit {spec.source}")
    assert commit["links"] == [[processed["trace"], processed["span"]]]
    (poll,) = over_http.named(f"poll {spec.source}")
    assert poll["links"] == [[TRACE, PARENT]]


@pytest.mark.parametrize("pool", ["thread", "process"])
def test_one_trace_shows_attempts_a_retry_topic_a_dead_letter_and_its_redrive(
    kafka: Kafka, tmp_path: Path, over_http: Received, pool: str
) -> None:
    spec = Spec(kafka, tmp_path, "need_file")
    letters = f"{spec.name}.dlq"
    spec.settings = {
        "dead_letter": letters,
        "retry": {"attempts": 2, "backoff": {"initial": "10ms"}, "topics": ["100ms"]},
        "ordering": "key",
        "pool": pool,
    }
    spec.create_topics()
    kafka.create(letters)
    needed = tmp_path / "needed"
    send(kafka, spec.source, {"id": 1, "file": str(needed)})

    with started(spec, environment(over_http)) as worker:
        worker.until(lambda: kafka.read(letters))
        needed.touch()
        redrive(spec)
        worker.until(lambda: kafka.read(spec.target))
        assert worker.stop() == 0

    over_http.until(lambda: over_http.named(f"send {spec.target}"))
    retry, again = f"{spec.group}.retry.0", f"{spec.group}.redrive"
    by_id = {span["span"]: span for span in over_http.spans}
    way = over_http.named(f"send {spec.target}")
    while way[-1]["parent"]:
        way.append(by_id[way[-1]["parent"]])
    assert [span["name"] for span in reversed(way)] == [
        f"process {spec.source}",
        f"process {spec.source}",
        f"send {retry}",
        f"process {retry}",
        f"send {letters}",
        f"process {again}",
        f"send {spec.target}",
    ]
    assert {span["trace"] for span in way} == {way[0]["trace"]}
    assert [span["failed"] for span in reversed(way)] == [True, True, False, True, *[False] * 3]


def redrive(spec: Spec) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "worker", "dlq", "redrive", f"{spec.name}.dlq"),
            *("--spec", str(spec.written()), "--yes"),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )


def test_a_receiver_that_is_away_neither_stops_a_worker_nor_its_end(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "echo")
    spec.create_topics()
    send(kafka, spec.source, {"id": 1}, {"id": 2})
    away = Received(f"http://127.0.0.1:{free_port()}")

    with started(spec, environment(away)) as worker:
        worker.until(lambda: is_through(kafka, spec, 2))
        assert worker.stop() == 0

    assert len(kafka.read(spec.target)) == 2


def test_each_process_exports_its_own_spans(
    kafka: Kafka, tmp_path: Path, over_http: Received
) -> None:
    spec = Spec(kafka, tmp_path, "echo")
    spec.create_topics()

    with started(spec, environment(over_http), "--processes", "2") as worker:
        worker.until(lambda: worker.shares() == [2, 2])
        producer = kafka.producer()
        for partition in range(4):
            headers: Any = [("traceparent", SAMPLED)]
            producer.produce(spec.source, b"{}", partition=partition, headers=headers)
        assert producer.flush(DEADLINE) == 0
        over_http.until(lambda: len(over_http.named(f"process {spec.source}")) == 4)
        assert worker.stop() == 0

    instances = {
        span["resource"]["service.instance.id"]
        for span in over_http.named(f"process {spec.source}")
    }
    assert len(instances) == 2


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"OTEL_TRACES_EXPORTER": "jaegr"}, "OTEL_TRACES_EXPORTER names 'jaegr'; installed are"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "htp"},
            "OTEL_EXPORTER_OTLP_PROTOCOL is 'htp'; it can be http/protobuf or grpc",
        ),
    ],
)
def test_an_exporter_that_cannot_be_stops_the_start(
    kafka: Kafka, tmp_path: Path, environ: Mapping[str, str], told: str
) -> None:
    spec = Spec(kafka, tmp_path, "echo")

    with started(spec, environ) as worker:
        assert worker.ended() == 78

    assert told in worker.log
    assert "Traceback" not in worker.log


@pytest.mark.parametrize(
    ("handler", "settings"),
    [("says", {}), ("says_async", {}), ("says", {"pool": "process", "concurrency": 1})],
    ids=["sync", "async", "in a process"],
)
def test_lines_of_handlers_say_their_message_and_its_trace(
    kafka: Kafka, tmp_path: Path, handler: str, settings: dict[str, Any]
) -> None:
    spec = Spec(kafka, tmp_path, handler, settings)
    spec.create_topics()
    send(kafka, spec.source, {"id": 1}, {"id": 2})

    with started(spec, {}, "--log-format", "json") as worker:
        worker.until(lambda: is_through(kafka, spec, 2))
        assert worker.stop() == 0

    lines = [json.loads(line) for line in worker.log.splitlines()]
    said = [line for line in lines if line["message"].startswith("handling")]
    for place, line in enumerate(said):
        assert line["message"] == f"handling {place + 1}"
        about = {"topic": spec.source, "partition": 0, "offset": place, "trace_id": TRACE}
        assert line.items() >= {"pipeline": "pipeline", **about}.items()
    assert len(said) == 2
    (joined,) = [line for line in lines if "assigned" in line["message"]]
    assert joined["pipeline"] == "pipeline"
