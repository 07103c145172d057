"""Worker processes on a real Kafka, started from their command line, and what they have done."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self
from urllib.error import HTTPError

import yaml
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

from worker.flow import envelope
from worker.flow.offsets import Ranges

ROOT = Path(__file__).parents[2]
NOTHING: Final[Mapping[str, Any]] = {}
DEADLINE = 90.0
ANSWER_WITHIN = 10.0
FILES = 1_024
"""What the number of a file has to be below."""
SETTLING = {
    KafkaError._TIMED_OUT,  # while a transaction with offsets of the group is open
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_COORDINATOR,
}
"""What is answered about a group only for a while, as right after the start of a broker."""


def unique(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Kafka:
    """The cluster as the tests see it: topics, records, committed offsets."""

    address: str

    def create(self, *topics: str, partitions: int = 4) -> None:
        client = AdminClient({"bootstrap.servers": self.address})
        made = client.create_topics([NewTopic(topic, partitions, -1) for topic in topics])
        for future in made.values():
            future.result()

    def create_on(self, topic: str, node: int) -> None:
        """Make a topic of one partition whose leader is this node, which alone has it."""
        new = NewTopic(topic, 1, replica_assignment=[[node]], config={"min.insync.replicas": "1"})
        client = AdminClient({"bootstrap.servers": self.address})
        client.create_topics([new])[topic].result()

    def grow(self, topic: str, partitions: int) -> None:
        """Let a topic have so many partitions, and wait until the cluster shows them.

        Until then a producer is told of the old ones, and refuses records for others.
        """
        client = AdminClient({"bootstrap.servers": self.address})
        client.create_partitions([NewPartitions(topic, partitions)])[topic].result()
        deadline = time.monotonic() + DEADLINE
        while len(client.list_topics(topic, timeout=10).topics[topic].partitions) < partitions:
            assert time.monotonic() < deadline, f"not there yet: {partitions} of {topic}"

    def producer(self, properties: Mapping[str, Any] = NOTHING) -> Producer:
        """A producer that keeps the order of what it writes, also where it has to write again."""
        common = {"bootstrap.servers": self.address, "linger.ms": 5, "enable.idempotence": True}
        return Producer({**common, **properties})

    def produce(self, topic: str, records: Iterable[tuple[bytes | None, bytes, int]]) -> None:
        """Write records given as key, value and partition (-1: by key), each partition in order."""
        producer = self.producer({"queue.buffering.max.messages": 0})
        refused: list[str] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                refused.append(f"{topic}[{message.partition()}]: {error}")

        for key, value, partition in records:
            producer.produce(topic, value, key, partition, on_delivery=delivered)
            producer.poll(0)
        assert producer.flush(DEADLINE) == 0
        assert not refused, f"{len(refused)} records, such as for {refused[0]}"

    def read(self, topic: str) -> list[Message]:
        """Every record of a topic up to its present end."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.address,
                "group.id": unique("reader"),
                "enable.partition.eof": True,
            }
        )
        numbers = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in numbers])
        messages: list[Message] = []
        at_end = 0
        while at_end < len(numbers):
            for message in consumer.consume(1_000, 1.0):
                if message.error() is None:
                    messages.append(message)
                else:
                    at_end += 1
        consumer.close()
        return messages

    def delete(self, *topics: str) -> None:
        """Delete topics, and wait until the cluster does not show them any more."""
        client = AdminClient({"bootstrap.servers": self.address})
        for future in client.delete_topics(list(topics)).values():
            future.result()
        deadline = time.monotonic() + DEADLINE
        while set(topics) & client.list_topics(timeout=10).topics.keys():
            assert time.monotonic() < deadline, f"still there: {topics}"

    def ends(self, topic: str, partitions: int = 4) -> list[int]:
        """Per partition the offset of the next record."""
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": unique("ends")})
        places = [TopicPartition(topic, number) for number in range(partitions)]
        ends = [consumer.get_watermark_offsets(place, timeout=10)[1] for place in places]
        consumer.close()
        return ends

    def committed(self, group: str, topic: str, partitions: int = 4) -> list[int]:
        """Per partition the committed offset; -1001 where there is none."""
        return [place.offset for place in self._committed(group, topic, partitions)]

    def finished(self, group: str, topic: str, partition: int = 0) -> Ranges | None:
        """What is committed as finished above the committed offset of a partition."""
        place = self._committed(group, topic, partition + 1)[partition]
        return envelope.decode(place.metadata or "", place.offset)

    def _committed(self, group: str, topic: str, partitions: int) -> list[TopicPartition]:
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": group})
        places = [TopicPartition(topic, number) for number in range(partitions)]
        try:
            return _committed(consumer, places)
        finally:
            consumer.close()


def _committed(consumer: Consumer, places: list[TopicPartition]) -> list[TopicPartition]:
    """Ask until the group's coordinator is there: a broker that has just started has none yet."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            return consumer.committed(places, timeout=10)
        except KafkaException as error:
            if error.args[0].code() not in SETTLING or time.monotonic() > deadline:
                raise


@dataclass
class Spec:
    """A spec of one pipeline of its own topics and group."""

    kafka: Kafka
    folder: Path
    handler: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    top: Mapping[str, Any] = field(default_factory=dict)
    client: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the clients."""
    name: str = field(default_factory=lambda: unique("spec"))
    program: Sequence[str] = ("worker", "run")
    """The module that runs it, and what comes in front of the spec's file."""

    def __post_init__(self) -> None:
        self.source, self.target = f"{self.name}.in", f"{self.name}.out"
        self.group = f"{self.name}.pipeline"

    def create_topics(self) -> None:
        self.kafka.create(self.source, self.target)

    def worker(self, *arguments: str, **changes: Any) -> Worker:
        """Start a process that runs this spec; `arguments` go to the command line."""
        port = free_port()
        file = self.written(server={"port": port}, **changes)
        return Worker(file, port, arguments=arguments, program=self.program)

    def written(self, **changes: Any) -> Path:
        """Write the spec into a file of its own, with these keys changed."""
        pipeline = {"from": self.source, "to": self.target, "handler": self.handler}
        text = {
            "version": 1,
            "name": self.name,
            "kafka": {
                "brokers": self.kafka.address,
                "group": {"session_timeout": "6s", "heartbeat": "1s"},
                **self.client,
            },
            "handlers": ["tests.system.handlers"],
            "pipelines": {"pipeline": {**pipeline, **self.settings}},
            **self.top,
            **changes,
        }
        file = self.folder / f"{unique('spec')}.yaml"
        file.write_text(yaml.safe_dump(text))
        return file


class WorkerProcess:
    """A worker by its command; killed at the end of the `with` block if it still runs.

    It must not have repaired anything, unless its client was made to fall silent.
    """

    silenced = False
    _running: ClassVar[list[WorkerProcess]] = []
    """Those of the `with` blocks that are open, for what a failure has to tell."""

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        log: Path,
        environ: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self._port = port
        self._log = log
        with self._log.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, **(environ or {})},
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=file,
            )

    def __enter__(self) -> Self:
        self._running.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.remove(self)
        if self._process.poll() is None:
            self.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()
        if kind is None and not self.silenced:
            assert "has messages and stands at" not in self.log, self.log

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def until_nothing_is_left(self) -> None:
        """Wait until every process has ended that was started for this one, too."""
        assert self._process.stdout is not None
        assert self._process.stdout.read() == b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def limit_files(self, number: int) -> None:
        """Let it open no file whose number is not below this."""
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (number, FILES))

    def is_stopped(self) -> bool:
        """Whether it stands still after a SIGSTOP."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    def ended(self) -> int:
        """Wait for the exit code."""
        return self._process.wait(DEADLINE)

    def stop(self) -> int:
        """Ask for a drain, once it listens to signals; returns the exit code."""
        self.until(lambda: self.get("/livez") is not None)
        self.send(signal.SIGTERM)
        return self.ended()

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def get(self, path: str) -> Any:
        """The JSON of a path, whatever its status; None while nothing answers."""
        with suppress(OSError):
            try:
                with urllib.request.urlopen(self.address + path, timeout=ANSWER_WITHIN) as answer:
                    return json.load(answer)
            except HTTPError as answer:
                with answer:
                    return json.load(answer)
        return None

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until the condition holds, as long as the process lives."""
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline, f"not in time:\n{self._told()}"
            with suppress(subprocess.TimeoutExpired):
                code = self._process.wait(0.02)
                raise AssertionError(f"the worker ended with {code}:\n{self.log}")

    def _told(self) -> str:
        """What this worker says, and then each of those beside it."""
        others = [worker for worker in self._running if worker is not self]
        return "\n\n".join(
            f"{one.address}, exit code {one._process.poll()}:\n{one.log}{one.get('/stats')}"
            for one in [self, *others]
        )

    def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        with urllib.request.urlopen(self.address + "/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{"))

    def processes(self) -> list[dict[str, Any]]:
        """What the supervisor says of each process."""
        stats = self.get("/stats")
        return list(stats.get("processes", ())) if stats else []

    def shares(self) -> list[int]:
        """How many partitions the pipeline has in each process."""
        return [
            len(process.get("pipelines", {}).get("pipeline", {}).get("partitions", ()))
            for process in self.processes()
        ]

    def pipeline(self, name: str = "pipeline") -> dict[str, Any]:
        stats = self.get("/stats")
        return dict(stats["pipelines"].get(name, {})) if stats else {}

    def count(self, name: str) -> int:
        return int(self.pipeline().get("counts", {}).get(name, 0))

    def until_handled(self, number: int) -> None:
        self.until(lambda: self.count("handled") >= number)

    def is_ready(self) -> bool:
        answer = self.get("/readyz")
        return answer is not None and not answer["reasons"]

    def codes(self, path: str = "/readyz") -> list[str]:
        """Of the reasons for which it is not ready, or not live."""
        answer = self.get(path)
        return [] if answer is None else [reason["code"] for reason in answer["reasons"]]

    def owned(self) -> int:
        """How many partitions the pipeline has."""
        return len(self.places())

    def places(self) -> set[str]:
        """The partitions that the pipeline has."""
        found = self.pipeline().get("partitions", ())
        return {f"{one['topic']}[{one['partition']}]" for one in found}


class Worker(WorkerProcess):
    """A worker of the file of a spec."""

    def __init__(
        self,
        spec: Path,
        port: int,
        environ: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        program: Sequence[str] = ("worker", "run"),
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        command = [sys.executable, "-m", *program, str(spec), *arguments]
        super().__init__(command, port, spec.with_suffix(".log"), environ, stdin=stdin)


def ids(messages: Iterable[Message]) -> list[int]:
    """The ids that the records of these tests carry."""
    return [int(json.loads(message.value() or b"")["id"]) for message in messages]


def is_through(kafka: Kafka, spec: Spec, records: int) -> bool:
    """Whether the committed offsets of the four partitions are behind so many records."""
    return sum(max(0, o) for o in kafka.committed(spec.group, spec.source)) == records


def is_in_order(messages: Iterable[Message], partitions: int = 4) -> bool:
    """Whether results whose ids went in turn over the source's partitions have kept their order.

    That is, between two partitions; of ids that were done again the first counts.
    """
    first: dict[tuple[int, int], dict[int, None]] = {}
    for message in messages:
        (one,) = ids([message])
        first.setdefault((one % partitions, message.partition() or 0), {}).setdefault(one)
    return all(list(seen) == sorted(seen) for seen in first.values())


def numbered(number: int, partitions: int = 4) -> Iterable[tuple[bytes, bytes, int]]:
    """Records with ids in turn over the partitions: id `n` is at offset `n // partitions`."""
    for one in range(number):
        yield str(one).encode(), b'{"id":%d}' % one, one % partitions


def keyed(first: int, number: int, keys: int) -> Iterable[tuple[bytes, bytes, int]]:
    """Records of so many keys in turn, numbered by key, beginning with the id `first`."""
    for one in range(first, first + number):
        value = {"id": one, "key": one % keys, "number": one // keys}
        yield b"%d" % (one % keys), json.dumps(value).encode(), -1


def in_order_at_last(messages: Iterable[Message]) -> bool:
    """Whether what counts of each key, the last result of each message, came in order.

    What was done again is legal, as long as whatever came behind it was done again, too.
    """
    last: dict[int, dict[int, None]] = {}
    for message in messages:
        value = json.loads(message.value() or b"")
        numbers = last.setdefault(value["key"], {})
        numbers.pop(value["number"], None)
        numbers[value["number"]] = None
    return all(list(numbers) == sorted(numbers) for numbers in last.values())


def misplaced(messages: Iterable[Message]) -> list[tuple[int, int]]:
    """Key and number of results that came before the one before it, or last though not the latest.

    What was done again is not, unless nothing later followed.
    """
    highest: dict[int, int] = {}
    last: dict[int, int] = {}
    found = []
    for message in messages:
        value = json.loads(message.value() or b"")
        key, number = value["key"], value["number"]
        if number > highest.get(key, -1) + 1:
            found.append((key, number))
        highest[key] = max(number, highest.get(key, -1))
        last[key] = number
    return [*found, *(last.items() - highest.items())]
