"""A worker that has little of what a machine has: files, processor, memory, room for its log."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

from tests.system.exactly import started
from tests.system.rig import (
    Kafka,
    Spec,
    WorkerProcess,
    free_port,
    ids,
    is_in_order,
    is_through,
    numbered,
)
from tests.system.test_rebalances import GROUPS
from worker.kafka.broker import KafkaCluster
from worker.testing.sharing import real

pytestmark = pytest.mark.kafka

FILES, FEW = 64, 8
SHARE, PERIOD = 0.1, 0.1
"""Of each so many seconds a worker that is throttled runs for this part."""
MEMORY = 256 * 1024
"""KiB that a worker may have in memory, as containers are given."""
HOUR = 3_600
"""Seconds."""
LARGE, MANY = 10_000, 30_000
"""Bytes of a message, and how many: more than that memory by far."""


def limited(spec: Spec, *limit: str) -> WorkerProcess:
    """Start a worker by a command that limits what comes behind."""
    port = free_port()
    file = spec.written(server={"port": port})
    command = [*limit, sys.executable, "-m", "worker", "run", str(file)]
    return WorkerProcess(command, port, file.with_suffix(".log"))


@contextmanager
def throttled(worker: WorkerProcess) -> Iterator[threading.Event]:
    """Let a worker have a tenth of a processor, in slices as the kernel's quota has them."""
    over = threading.Event()

    def throttle() -> None:
        while not over.is_set():
            worker.send(signal.SIGSTOP)
            over.wait(PERIOD * (1 - SHARE))
            worker.send(signal.SIGCONT)
            over.wait(PERIOD * SHARE)

    thread = threading.Thread(target=throttle)
    thread.start()
    try:
        yield over
    finally:
        over.set()
        thread.join()


def most_memory(worker: WorkerProcess) -> int:
    """KiB that a worker had in memory at most."""
    lines = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak)


def test_a_worker_needs_few_files(kafka: Kafka, tmp_path: Path) -> None:
    spec = Spec(kafka, tmp_path, "echo")
    spec.create_topics()
    kafka.produce(spec.source, numbered(40))

    with limited(spec, "prlimit", f"--nofile={FILES}:{FILES}") as worker:
        worker.until(lambda: is_through(kafka, spec, 40))
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log

    assert sorted(ids(kafka.read(spec.target))) == list(range(40))


def test_a_worker_that_may_open_no_further_file_says_so_and_goes_on_with_those_it_has(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "echo")
    spec.create_topics()

    with spec.worker() as worker:
        worker.until(worker.is_ready)
        worker.limit_files(FEW)
        kafka.produce(spec.source, numbered(40))
        worker.until(lambda: is_through(kafka, spec, 40))
        assert worker.get("/livez") is None
        worker.until(lambda: "no connection is accepted: Too many open files" in worker.log)
        worker.limit_files(FILES)
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log
        assert worker.log.count("Too many open files") < 10
        assert "Traceback" not in worker.log


@pytest.mark.parametrize("way", ["sticky", "consumer"])
def test_a_worker_with_a_tenth_of_a_processor_keeps_its_partitions(
    kafka: Kafka, tmp_path: Path, way: str
) -> None:
    spec = Spec(kafka, tmp_path, "echo", client={"group": GROUPS[way]})
    spec.create_topics()

    with spec.worker() as worker:
        worker.until(worker.is_ready)
        with throttled(worker):
            kafka.produce(spec.source, numbered(20_000))
            worker.until(lambda: is_through(kafka, spec, 20_000))
        assert worker.count("rebalances") == 1
        assert worker.stop() == 0, worker.log

    results = kafka.read(spec.target)
    assert sorted(ids(results)) == list(range(20_000))
    assert is_in_order(results)


def test_a_worker_holds_little_of_a_large_backlog(kafka: Kafka, tmp_path: Path) -> None:
    spec = Spec(kafka, tmp_path, "echo_slowly")
    spec.create_topics()
    text = b"x" * LARGE
    records = ((b"%d" % n, b'{"id":%d,"text":"%s"}' % (n, text), n % 4) for n in range(MANY))
    kafka.produce(spec.source, records)

    with spec.worker() as worker:
        worker.until(lambda: is_through(kafka, spec, MANY))
        peak = most_memory(worker)
        assert worker.stop() == 0, worker.log

    assert peak < MEMORY < MANY * LARGE / 1024


def test_of_a_backlog_behind_slow_handlers_nothing_is_fetched_twice(
    kafka: Kafka, tmp_path: Path
) -> None:
    """A pause would throw away what the client has fetched ahead."""
    settings = {"ordering": "key", "concurrency": 4}
    spec = Spec(kafka, tmp_path, "echo_slowly", settings)
    spec.create_topics()
    kafka.produce(spec.source, numbered(40_000))

    with spec.worker() as worker:

        def fetched() -> int:
            """As the client's statistics have it, which come later."""
            number: int = worker.pipeline()["clients"]["consumer"]["messages_received"]
            return number

        worker.until_handled(2_000)
        worker.until(lambda: fetched() >= 2_000)
        number = fetched()
        assert worker.stop() == 0, worker.log

    assert number <= 40_000


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_a_clock_that_jumps_by_an_hour_changes_nothing(
    kafka: Kafka, tmp_path: Path, delivery: str
) -> None:
    ahead = tmp_path / "ahead"
    ahead.write_text("0")
    program = ("tests.system.jumping", str(ahead))
    settings = {"delivery": delivery, "timeout": "30s"}
    spec = Spec(kafka, tmp_path, "echo_slowly", settings, program=program)
    spec.create_topics()

    with spec.worker() as worker:
        worker.until(worker.is_ready)
        for number, hour in enumerate((HOUR, -HOUR, 0)):
            ahead.write_text(str(hour))
            worker.until(partial(is_ahead, worker, hour))
            kafka.produce(
                spec.source, islice(numbered(12_000), 4_000 * number, 4_000 * (number + 1))
            )
            worker.until(partial(is_through, kafka, spec, 4_000 * (number + 1)))
            worker.until(worker.is_ready)
        assert worker.count("rebalances") == 1
        assert worker.count("rewinds") == 0
        assert worker.stop() == 0, worker.log

    results = kafka.read(spec.target)
    assert sorted(ids(results)) == list(range(12_000))
    assert is_in_order(results)


def is_ahead(worker: WorkerProcess, seconds: float) -> bool:
    """Whether a worker believes it to be about so much later than it is."""
    believed = float(worker.get("/stats")["now"])
    return abs(believed - time.time() - seconds) < HOUR / 2


def test_a_worker_whose_log_takes_nothing_more_goes_on(kafka: Kafka, tmp_path: Path) -> None:
    spec = Spec(kafka, tmp_path, "says")
    spec.create_topics()
    kafka.produce(spec.source, numbered(40))

    with limited(spec, "sh", "-c", 'exec "$@" 2>/dev/full', "sh") as worker:
        worker.until(lambda: is_through(kafka, spec, 40))
        worker.until(worker.is_ready)
        assert worker.stop() == 0

    assert worker.log == ""
    assert sorted(ids(kafka.read(spec.target))) == list(range(40))


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_a_worker_whose_producer_takes_few_records_waits_and_keeps_their_order(
    tmp_path: Path, delivery: str
) -> None:
    cluster = KafkaCluster()
    with real(lambda: started(cluster)) as address:
        kafka = Kafka(address)
        client = {"librdkafka": {"queue.buffering.max.messages": 10}}
        spec = Spec(kafka, tmp_path, "echo", {"delivery": delivery}, client=client)
        spec.create_topics()
        kafka.produce(spec.source, numbered(4_000))

        with spec.worker() as worker:
            worker.until(lambda: worker.count("handled") > 20)
            cluster.pause_node(0)
            worker.until(worker.codes)
            cluster.resume_node(0)
            worker.until(lambda: is_through(kafka, spec, 4_000))
            assert worker.stop() == 0, worker.log

        results = kafka.read(spec.target)
    assert sorted(ids(results)) == list(range(4_000))
    assert is_in_order(results)
