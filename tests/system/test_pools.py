"""Handlers in processes of their own, on a real Kafka."""

from __future__ import annotations

import json
import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.rig import Kafka, Spec, ids, is_in_order, is_through, numbered

pytestmark = pytest.mark.kafka

KEYS = 200
PROCESSES = {"pool": "process", "concurrency": 2}


def keyed(records: int, poison_every: int) -> Iterator[tuple[bytes, bytes, int]]:
    """Records of some keys in turn, now and then one that ends the process."""
    for number in range(records):
        key = str(number % KEYS)
        poison = number % poison_every == poison_every // 2
        yield key.encode(), json.dumps({"id": number, "poison": poison}).encode(), -1


@pytest.mark.parametrize("ordering", ["key", "partition"])
@pytest.mark.parametrize(
    ("records", "poison_every"),
    [(20_000, 1_000), pytest.param(200_000, 10_000, marks=pytest.mark.long)],
)
def test_records_that_end_their_process_are_dead_letters_and_nothing_else_is_lost_or_out_of_order(
    kafka: Kafka, tmp_path: Path, records: int, poison_every: int, ordering: str
) -> None:
    settings = {**PROCESSES, "ordering": ordering}
    spec = Spec(kafka, tmp_path, "poisoned", settings)
    failed = f"{spec.name}.dlq"
    spec.settings = {**settings, "dead_letter": failed}
    spec.create_topics()
    kafka.create(failed)
    kafka.produce(spec.source, keyed(records, poison_every))

    with spec.worker() as worker:
        worker.until(lambda: is_through(kafka, spec, records))
        assert worker.stop() == 0
        worker.until_nothing_is_left()

    results, letters = kafka.read(spec.target), kafka.read(failed)
    poison = [n for n in range(records) if n % poison_every == poison_every // 2]
    assert sorted(ids(letters)) == poison
    assert {dict(letter.headers() or [])["dlq.reason"] for letter in letters} == {b"crash"}
    assert sorted(ids(results)) == sorted(set(range(records)) - set(poison))
    by_key = defaultdict(list)
    for one in ids(results):
        by_key[one % KEYS].append(one)
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


@pytest.mark.parametrize("handler", ["hang", "hold"])
def test_no_process_of_a_pool_outlives_a_worker_that_is_killed(
    kafka: Kafka, tmp_path: Path, handler: str
) -> None:
    spec = Spec(kafka, tmp_path, handler, PROCESSES)
    spec.create_topics()
    kafka.produce(spec.source, numbered(4))

    with spec.worker() as worker:
        worker.until(lambda: worker.count("received") == 4 and worker.is_ready())
        worker.kill()
        worker.until_nothing_is_left()


def test_a_second_signal_ends_the_worker_and_the_processes_of_its_pool_at_once(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "hold", {**PROCESSES, "drain_timeout": "1h"})
    spec.create_topics()
    kafka.produce(spec.source, numbered(4))

    with spec.worker() as worker:
        worker.until(lambda: worker.count("received") == 4 and worker.is_ready())
        worker.send(signal.SIGTERM)
        worker.until(lambda: worker.get("/stats")["draining"])
        worker.send(signal.SIGINT)
        assert worker.ended() == 4
        worker.until_nothing_is_left()


@pytest.mark.parametrize("processes", [(), ("--processes", "2")])
def test_a_stop_drains_what_the_processes_of_a_pool_have_without_loss_or_double(
    kafka: Kafka, tmp_path: Path, processes: tuple[str, ...]
) -> None:
    records = 4_000
    spec = Spec(kafka, tmp_path, "echo_slowly", {**PROCESSES, "in_flight": {"messages": 500}})
    spec.create_topics()
    kafka.produce(spec.source, numbered(records))

    for moment in (1, 700):
        with spec.worker(*processes) as worker:
            worker.until_handled(moment)
            assert worker.stop() == 0, worker.log
            worker.until_nothing_is_left()
    with spec.worker(*processes) as worker:
        worker.until(lambda: is_through(kafka, spec, records))
        assert worker.stop() == 0

    results = kafka.read(spec.target)
    assert sorted(ids(results)) == list(range(records))
    assert is_in_order(results)


def test_a_second_worker_takes_its_share_from_the_processes_of_a_pool(
    kafka: Kafka, tmp_path: Path
) -> None:
    records = 8_000
    spec = Spec(kafka, tmp_path, "echo_slowly", PROCESSES)
    spec.create_topics()
    messages = list(numbered(records))
    kafka.produce(spec.source, messages[:6_000])

    with spec.worker() as first:
        first.until_handled(100)
        with spec.worker() as second:
            second.until(lambda: second.owned() == 2)
            kafka.produce(spec.source, messages[6_000:])  # it may have come when all was through
            second.until_handled(100)
            assert second.stop() == 0
        first.until(lambda: is_through(kafka, spec, records))
        assert first.stop() == 0

    assert sorted(ids(kafka.read(spec.target))) == list(range(records))


def test_a_resource_that_cannot_be_set_up_ends_the_worker_with_its_error(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "with_refused", PROCESSES)
    spec.create_topics()

    with spec.worker() as worker:
        assert worker.ended() == 1
        worker.until_nothing_is_left()

    assert "resource refused (" in worker.log
    assert "could not be set up: OSError: no network" in worker.log
    assert "Traceback" not in worker.log
