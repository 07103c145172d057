from __future__ import annotations

import threading

from worker.cli.arrival import Ends, Watch, is_through
from worker.cli.feed import FeedFailed
from worker.errors import ClientError
from worker.flow.health import PartitionState, PipelineState, Snapshot
from worker.types import TopicPartition

SOURCES = {"delays": ["flights"], "alerts": ["delays"]}
FLIGHTS, DELAYS = TopicPartition("flights", 0), TopicPartition("delays", 0)


def pipeline(name: str, source: TopicPartition, committable: int) -> PipelineState:
    partition = PartitionState(*source, committable, committable, None, None, 0, paused=False)
    return PipelineState(name, "g", "running", partitions=(partition,))


def snapshot(*pipelines: PipelineState) -> Snapshot:
    return Snapshot("n", "v", 0.0, 0.0, pipelines=pipelines)


ALL_DONE = snapshot(pipeline("delays", FLIGHTS, 10), pipeline("alerts", DELAYS, 8))


class Worker:
    def __init__(self, *snapshots: Snapshot) -> None:
        self._snapshots = list(snapshots)
        self.stops = 0

    def snapshot(self) -> Snapshot:
        return self._snapshots.pop(0) if len(self._snapshots) > 1 else self._snapshots[0]

    def stop(self) -> None:
        self.stops += 1


class Fed:
    def __init__(self, failed: FeedFailed | None = None) -> None:
        self.done = threading.Event()
        self.done.set()
        self.failed = failed


def watch(worker: Worker, fed: Fed, ends: Ends) -> Watch:
    found = Watch(worker, lambda _: None, fed, SOURCES, lambda: ends)
    found.start()
    found.join(30)
    assert not found.is_alive()
    return found


def test_it_is_through_when_every_pipeline_is_at_the_ends_of_its_topics() -> None:
    assert is_through(ALL_DONE, SOURCES, {FLIGHTS: 10, DELAYS: 8})


def test_a_result_that_the_next_pipeline_has_not_handled_keeps_it_open() -> None:
    assert not is_through(ALL_DONE, SOURCES, {FLIGHTS: 10, DELAYS: 9})


def test_a_pipeline_that_has_no_partition_yet_is_not_through() -> None:
    joining = PipelineState("alerts", "g", "joining")

    assert not is_through(
        snapshot(pipeline("delays", FLIGHTS, 0), joining), SOURCES, {FLIGHTS: 0, DELAYS: 0}
    )


def test_a_worker_without_its_pipelines_is_not_through() -> None:
    assert not is_through(snapshot(), SOURCES, {})


def test_a_pipeline_that_has_failed_is_not_waited_for() -> None:
    failed = PipelineState("alerts", "g", "failed", failed="a poison pill")

    assert is_through(
        snapshot(pipeline("delays", FLIGHTS, 10), failed), SOURCES, {FLIGHTS: 10, DELAYS: 9}
    )


def test_the_worker_is_stopped_once_when_everything_is_through() -> None:
    behind = snapshot(pipeline("delays", FLIGHTS, 9), pipeline("alerts", DELAYS, 7))
    worker = Worker(behind, behind, ALL_DONE)

    found = watch(worker, Fed(), {FLIGHTS: 10, DELAYS: 8})

    assert (worker.stops, found.arrived, found.failed) == (1, True, None)


def test_the_worker_is_stopped_when_the_feeding_has_failed() -> None:
    worker = Worker(snapshot())

    found = watch(worker, Fed(FeedFailed("broken file")), {})

    assert (worker.stops, found.arrived) == (1, False)


def test_the_worker_is_stopped_when_the_ends_cannot_be_had() -> None:
    def ends() -> Ends:
        raise ClientError("no answer")

    worker = Worker(ALL_DONE)
    found = Watch(worker, lambda _: None, Fed(), SOURCES, ends)
    found.start()
    found.join(30)

    assert (worker.stops, str(found.failed)) == (1, "no answer")


def test_a_worker_that_drains_already_is_not_stopped_a_second_time() -> None:
    draining = Snapshot("n", "v", 0.0, 0.0, draining=True, pipelines=ALL_DONE.pipelines)
    seen = threading.Event()
    worker = Worker(draining)
    found = Watch(worker, lambda _: seen.set(), Fed(), SOURCES, lambda: {FLIGHTS: 10, DELAYS: 8})

    found.start()
    assert seen.wait(30)
    found.end()

    assert worker.stops == 0
