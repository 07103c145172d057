"""The states of several processes, taken together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from worker.flow.failures import FailureGroup
from worker.flow.health import Counts, Flow, PartitionState, PipelineState, ProcessState, Snapshot
from worker.flow.totals import ended, reported, totals
from worker.types import BrokerTotals, ClientTotals

PIPELINE = PipelineState("delays", "g", "running", joined=True, connected=True)


def partition(number: int, committable: int) -> PartitionState:
    return PartitionState("flights", number, committable, committable, None, None, 0, paused=False)


def told(*pipelines: PipelineState) -> Snapshot:
    return Snapshot("n", "v", 0.0, 0.0, pipelines=pipelines)


def process(index: int, **changes: Any) -> ProcessState:
    return ProcessState(index, pid=1, snapshot=told(replace(PIPELINE, **changes)))


def total(*processes: ProcessState, now: float = 0.0) -> PipelineState:
    (found,) = totals(processes, now)
    return found


def test_numbers_are_added() -> None:
    one = process(
        0,
        in_flight=1,
        in_flight_bytes=10,
        received_rate=1.5,
        produced_rate=1.0,
        counts=Counts(received=5, dead_lettered={"rejected": 1}, skipped={"timeout": 1}),
    )
    other = process(
        1,
        in_flight=2,
        in_flight_bytes=20,
        received_rate=2.0,
        produced_rate=0.5,
        counts=Counts(received=7, dead_lettered={"rejected": 2, "timeout": 3}),
    )

    found = total(one, other)

    assert (found.in_flight, found.in_flight_bytes) == (3, 30)
    assert (found.received_rate, found.produced_rate) == (3.5, 1.5)
    assert found.counts == Counts(
        received=12, dead_lettered={"rejected": 3, "timeout": 3}, skipped={"timeout": 1}
    )


@pytest.mark.parametrize("status", ["failed", "starting", "joining", "draining", "stopped"])
def test_a_pipeline_runs_when_it_runs_in_every_process(status: str) -> None:
    assert total(process(0), process(1)).status == "running"
    assert total(process(0), process(1, status=status)).status == status


def test_of_conditions_the_worst_counts_and_says_its_process() -> None:
    good = process(0, stepped=9.0, missing=("a",))
    bad = process(
        1,
        joined=False,
        connected=False,
        missing=("a", "b"),
        blocked="no leader",
        breaker_open="breaker payments is open",
        failed="a poison pill",
        last_error="timed out",
        stepped=3.0,
        patience=90.0,
    )

    found = total(good, bad)

    assert (found.joined, found.connected, found.missing) == (False, False, ("a", "b"))
    assert found.blocked == "process 1: no leader"
    assert found.breaker_open == "process 1: breaker payments is open"
    assert found.failed == "process 1: a poison pill"
    assert found.last_error == "process 1: timed out"
    assert (found.stepped, found.patience) == (3.0, 90.0)
    assert total(good, good).failed is None


def test_a_partition_that_moves_is_told_of_once() -> None:
    before = process(0, partitions=(partition(1, 5), partition(0, 3)))
    after = process(1, partitions=(partition(1, 8),))

    assert total(before, after).partitions == (partition(0, 3), partition(1, 8))
    assert total(after, before).partitions == (partition(0, 3), partition(1, 8))


def test_clients_are_added_and_the_worst_of_a_broker_counts() -> None:
    one = ClientTotals(requests=3, queued=1, brokers={"a": "UP"}, round_trips={"a": 0.1})
    other = ClientTotals(
        requests=4, queued=2, brokers={"a": "DOWN", "b": "UP"}, round_trips={"a": 0.2, "b": None}
    )

    processes = [process(0, clients={"consumer": one}), process(1, clients={"consumer": other})]

    for order in (processes, processes[::-1]):
        assert total(*order).clients == {
            "consumer": ClientTotals(
                requests=7,
                queued=3,
                brokers={"a": "DOWN", "b": "UP"},
                round_trips={"a": 0.2, "b": None},
            )
        }


def test_what_a_process_has_counted_stays_when_it_ends_and_what_was_true_of_it_goes() -> None:
    first = process(
        0,
        in_flight=4,
        counts=Counts(received=5, dead_lettered={"rejected": 1}),
        clients={"consumer": ClientTotals(requests=3, queued=1, brokers={"a": "UP"})},
        partitions=(partition(0, 3),),
    )
    other = process(1, counts=Counts(received=10))

    gone = ended(first, "ended with signal SIGKILL")
    again = reported(replace(gone, pid=2), told(replace(PIPELINE, counts=Counts(received=2))))
    twice = ended(again, "ended with signal SIGKILL")

    assert (gone.pid, gone.snapshot) == (None, None)
    assert total(gone, other).counts == Counts(received=15, dead_lettered={"rejected": 1})
    assert total(again, other).counts.received == 17
    assert total(twice, other).counts.received == 17
    found = total(gone, other)
    assert (found.in_flight, found.partitions) == (0, ())
    assert found.clients == {"consumer": ClientTotals(requests=3)}


def test_what_a_client_has_counted_stays_when_another_takes_its_place() -> None:
    def state(requests: int) -> Snapshot:
        return told(replace(PIPELINE, clients={"consumer": ClientTotals(requests=requests)}))

    now = ProcessState(0)
    seen = []
    for requests in (5, 9, 2, 3, 1):
        now = reported(now, state(requests))
        seen.append(total(now).clients["consumer"].requests)

    assert seen == [5, 9, 11, 12, 13]


def test_processes_that_have_told_nothing_yet_have_no_pipelines() -> None:
    assert totals([ProcessState(0), ProcessState(1, snapshot=told())], 0.0) == ()


def test_while_a_process_is_missing_it_is_not_known_how_much_waits() -> None:
    behind = PartitionState("flights", 0, 8, 8, None, 20, 0, paused=False)
    first, other = process(0, partitions=(behind,)), process(1)

    assert total(first, other).lag == 12
    assert total(first, ended(other, "ended with signal SIGKILL")).lag is None


def test_a_process_that_stands_still_adds_no_rate() -> None:
    still, other = process(0, received_rate=6.0), process(1, received_rate=2.0, stepped=60.0)

    assert total(still, other, now=60.0).received_rate == 2.0


def test_failures_of_all_processes_are_added_be_they_of_ended_ones() -> None:
    group = FailureGroup("skipped", "timeout", "", "", 2, "flights", 0, 7, last=1.0)
    first = process(0, failures=(group,))
    other = process(1, failures=(replace(group, count=3, offset=9, last=2.0),))
    gone = ended(first, "ended with signal SIGKILL")
    again = reported(replace(gone, pid=2), told(replace(PIPELINE, failures=(group,))))

    (found,) = total(again, other).failures

    assert (found.count, found.offset) == (7, 9)


def test_the_flow_is_that_of_any_process() -> None:
    flow = Flow(("flights",), "delays", "delays")

    assert total(process(0, flow=flow), process(1, flow=flow)).flow == flow


def test_durations_and_the_time_of_loops_are_added_up_and_outlive_their_process() -> None:
    def counts(seconds: float) -> Counts:
        found = Counts()
        found.handling.note(seconds)
        found.stages["commit"] += seconds
        return found

    gone = ended(process(0, counts=counts(1.0)), "ended")
    found = total(gone, process(1, counts=counts(2.0)), process(2, counts=counts(2.0)))

    assert (found.counts.handling.count, found.counts.handling.seconds) == (3, 5.0)
    assert max(found.counts.handling.buckets) == 2
    assert found.counts.stages["commit"] == 5.0


def test_what_went_to_a_broker_is_added_up_by_broker() -> None:
    def client(**traffic: BrokerTotals) -> dict[str, ClientTotals]:
        return {"consumer": ClientTotals(traffic=traffic)}

    one = process(0, clients=client(a=BrokerTotals(requests=3, connects=1)))
    other = process(1, clients=client(a=BrokerTotals(requests=4), b=BrokerTotals(bytes_sent=5)))

    assert total(one, other).clients["consumer"].traffic == {
        "a": BrokerTotals(requests=7, connects=1),
        "b": BrokerTotals(bytes_sent=5),
    }
