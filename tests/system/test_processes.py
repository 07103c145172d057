"""One worker of several processes under a supervisor."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.system.rig import Kafka, Spec, Worker, ids, is_in_order, is_through, numbered

pytestmark = pytest.mark.kafka

TWO = ("--processes", "2")
FEW = {"in_flight": {"messages": 200}}
"""So that a drain leaves something to do."""


def until_shared(worker: Worker, handled: int = 0) -> None:
    """Wait until both processes have two partitions, and together have handled so many."""
    worker.until(lambda: worker.shares() == [2, 2] and worker.count("handled") >= handled)


def handled(process: dict[str, dict[str, dict[str, dict[str, int]]]]) -> int:
    return process["pipelines"]["pipeline"]["counts"]["handled"]


def test_a_process_that_is_killed_is_started_again_and_nothing_is_lost(
    kafka: Kafka, tmp_path: Path
) -> None:
    records, in_flight, per_commit = 5_000, 200, 100
    settings = {
        "in_flight": {"messages": in_flight},
        "commit": {"interval": "100ms", "messages": per_commit},
        "instance": "one",
    }
    spec = Spec(kafka, tmp_path, "echo_slowly", settings)
    spec.create_topics()

    with spec.worker(*TWO) as worker:
        until_shared(worker)
        kafka.produce(spec.source, numbered(records))
        until_shared(worker, handled=500)
        killed, other = worker.processes()
        worker.send(signal.SIGSTOP)  # nothing is started again before it is known what was done
        os.kill(killed["pid"], signal.SIGKILL)
        committed = [max(0, offset) for offset in kafka.committed(spec.group, spec.source)]
        produced = set(ids(kafka.read(spec.target)))
        theirs = {one["partition"] for one in killed["pipelines"]["pipeline"]["partitions"]}
        window = {n for n in produced if n % 4 in theirs and n // 4 >= committed[n % 4]}
        worker.send(signal.SIGCONT)
        worker.until(lambda: is_through(kafka, spec, records))
        worker.until(lambda: worker.is_ready() and worker.shares() == [2, 2])
        again, still = worker.processes()
        total = worker.count("handled")
        assert worker.stop() == 0

    assert (again["restarts"], still["restarts"]) == (1, 0)
    assert again["pid"] != killed["pid"]
    assert still["pid"] == other["pid"]
    assert handled(still) > handled(other)
    assert total >= handled(killed) + handled(again) + handled(still)
    results = kafka.read(spec.target)
    counts = Counter(ids(results))
    assert set(counts) == set(range(records))
    assert {one for one, times in counts.items() if times > 1} <= window
    assert len(window) <= in_flight + 10 * per_commit
    assert is_in_order(results)


def test_a_stop_drains_all_processes_without_a_double_and_the_endpoint_shows_their_sum(
    kafka: Kafka, tmp_path: Path
) -> None:
    records = 3_000
    spec = Spec(kafka, tmp_path, "echo_slowly", FEW)
    spec.create_topics()

    with spec.worker(*TWO) as worker:
        until_shared(worker)
        worker.until(worker.is_ready)
        kafka.produce(spec.source, numbered(400))
        worker.until(
            lambda: worker.count("handled") == worker.metric("worker_messages_handled_total") == 400
        )
        assert [handled(process) for process in worker.processes()] == [200, 200]
        assert worker.owned() == 4
        kafka.produce(spec.source, numbered(records))
        worker.until_handled(1_000)
        assert worker.stop() == 0, worker.log
        assert all(f'"process":{index},' in worker.log for index in (0, 1))
    with spec.worker() as worker:
        worker.until(lambda: is_through(kafka, spec, 400 + records))
        assert worker.stop() == 0

    counts = Counter(ids(kafka.read(spec.target)))
    assert counts == Counter([*range(400), *range(records)])


def test_processes_without_their_supervisor_drain_and_end(kafka: Kafka, tmp_path: Path) -> None:
    records = 3_000
    spec = Spec(kafka, tmp_path, "echo_slowly", FEW)
    spec.create_topics()
    kafka.produce(spec.source, numbered(records))

    with spec.worker(*TWO) as worker:
        until_shared(worker, handled=500)
        worker.kill()
        worker.until_nothing_is_left()
    with spec.worker() as worker:
        worker.until(lambda: is_through(kafka, spec, records))
        assert worker.stop() == 0

    assert sorted(ids(kafka.read(spec.target))) == list(range(records))


def test_a_second_signal_ends_all_processes_at_once(kafka: Kafka, tmp_path: Path) -> None:
    spec = Spec(kafka, tmp_path, "hang", {"drain_timeout": "1h"})
    spec.create_topics()
    kafka.produce(spec.source, numbered(4))

    with spec.worker(*TWO) as worker:
        worker.until(lambda: worker.count("received") >= 4)
        worker.send(signal.SIGTERM)
        worker.until(lambda: worker.get("/stats")["draining"])
        worker.send(signal.SIGINT)
        assert worker.ended() == 4
        worker.until_nothing_is_left()


def test_a_message_that_stops_the_pipeline_of_every_process_ends_the_whole_with_1(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "refuse")
    spec.create_topics()
    kafka.produce(spec.source, numbered(1))

    with spec.worker(*TWO) as worker:
        assert worker.ended() == 1

    assert worker.log.count("ended with exit code 1") == 2
    assert "starts again" not in worker.log


def test_missing_topics_are_told_once_for_all_processes(kafka: Kafka, tmp_path: Path) -> None:
    spec = Spec(kafka, tmp_path, "echo")

    with spec.worker(*TWO) as worker:
        assert worker.ended() == 78

    assert worker.log.count(f"topic '{spec.source}' does not exist") == 1
    assert "Traceback" not in worker.log
