"""Messages that are finished above one that is not: kept over restarts, within bounds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from tests.engine.rig import GROUP, Rig
from worker.engine.partition import POLL_LIMIT
from worker.flow import envelope
from worker.types import TopicPartition

SOURCE = TopicPartition("source", 0)
FIRST = b"0"
"""The message that hangs."""


def by_key(settings: Mapping[str, Any] | None = None) -> tuple[Rig, list[int]]:
    """A pipeline that hangs at the first message, and the payloads that it has handled."""
    seen: list[int] = []

    def handler(payload: int) -> int:
        seen.append(payload)
        return payload

    rig = Rig(handler, {"ordering": "key", **(settings or {})})
    rig.pool.stuck = {FIRST}
    rig.pool.size = POLL_LIMIT
    return rig, seen


def numbers(start: int, end: int) -> list[str]:
    return list(map(str, range(start, end)))


def test_what_is_finished_above_a_hanging_message_is_not_handled_again_after_a_restart() -> None:
    rig, seen = by_key()
    rig.send(*numbers(0, 50))
    rig.step(100)
    assert (rig.committed(), sorted(seen)) == (0, list(range(1, 50)))

    rig.restart()
    rig.pool.stuck = set()
    rig.send("50")
    rig.step()

    assert seen[49:] == [0, 50]
    assert rig.committed() == 51
    assert rig.counts.passed_over == 49


def test_after_a_failed_delivery_what_came_later_in_its_lane_comes_last_again() -> None:
    rig, _ = by_key()
    for value in (b"1", b"2"):
        rig.broker.append("source", value, b"key")
    rig.producer.fail_next(when=lambda record: record.value == b"1")
    rig.producer.hold_deliveries()
    rig.step()
    rig.producer.release()
    rig.step()
    assert rig.values() == ["2"]

    rig.clock.advance(60)
    rig.step()

    assert rig.values() == ["2", "1", "2"]
    assert rig.committed() == 2


def test_a_map_is_written_although_the_committed_offset_does_not_move() -> None:
    rig, _ = by_key()
    rig.send(*numbers(0, 3))
    rig.step()
    before = rig.broker.metadata(GROUP, SOURCE)

    rig.send(*numbers(3, 6))
    rig.step()

    assert envelope.decode(before, 0) == [(1, 3)]
    assert envelope.decode(rig.broker.metadata(GROUP, SOURCE), 0) == [(1, 6)]


def test_metadata_of_others_is_warned_of_and_replaced(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    rig, seen = by_key()
    rig.pool.stuck = set()
    rig.broker.commit(GROUP, SOURCE, 1, "by hand")
    rig.send(*numbers(0, 3))

    rig.step()

    assert seen == [1, 2]
    assert envelope.decode(rig.broker.metadata(GROUP, SOURCE), 3) == ()
    assert [record.getMessage() for record in caplog.records] == [
        "pipeline: the metadata committed for source[0] is not ours; the next commit replaces it"
    ]


def test_nothing_is_passed_over_by_a_map_that_was_copied_to_another_offset() -> None:
    rig, seen = by_key()
    rig.pool.stuck = set()
    rig.broker.commit(GROUP, SOURCE, 1, envelope.encode(3, [(4, 6)]))
    rig.send(*numbers(0, 8))

    rig.step()

    assert seen == list(range(1, 8))


def test_a_broker_that_takes_no_maps_still_gets_the_offsets() -> None:
    rig, _ = by_key()
    rig.consumer.fail_commits("OFFSET_METADATA_TOO_LARGE: too long")
    rig.send(*numbers(0, 3))
    rig.step()
    rig.step()

    assert (rig.committed(), rig.broker.metadata(GROUP, SOURCE)) == (0, "")


def test_a_partition_is_not_read_on_while_its_map_could_grow_too_long() -> None:
    rig, seen = by_key()
    written = 0
    for round_ in range(400):
        start = 1_000 * round_
        rig.pool.stuck |= {b"%d" % n for n in range(start, start + 1_000, 25)}
        rig.send(*numbers(start, start + 1_000))
        rig.step(3)
        written = max(written, len(rig.broker.metadata(GROUP, SOURCE)))
        if rig.runner.partitions[SOURCE].held:
            break
    partition = rig.runner.partitions[SOURCE]
    before = partition.tracker.position

    rig.send(*numbers(10**6, 10**6 + 100))
    rig.step()

    assert partition.held
    assert partition.tracker.position == before
    assert partition.in_flight < 1_200
    assert 0 < written <= envelope.BUDGET
    rig.pool.stuck = set()
    rig.step(100)
    assert (partition.held, rig.committed()) == (False, len(seen))
    assert len(set(seen)) == len(seen)


def test_a_hanging_partition_leaves_room_for_the_others() -> None:
    rig = Rig(lambda payload: payload, {"in_flight": {"messages": 4 * POLL_LIMIT}}, partitions=4)
    rig.pool.stuck = {FIRST}
    rig.send(*numbers(0, 10 * POLL_LIMIT), partition=0)
    rig.step(20)

    for partition in (1, 2, 3):
        rig.send(*numbers(1, 101), partition=partition)
    rig.step(20)

    assert [rig.committed(partition) for partition in (1, 2, 3)] == [100, 100, 100]
    assert rig.runner.partitions[SOURCE].held
    rig.pool.stuck = set()
    rig.step(100)
    assert rig.committed() == 10 * POLL_LIMIT


def test_what_is_finished_behind_a_hanging_message_takes_no_room_in_bytes() -> None:
    rig, seen = by_key({"in_flight": {"bytes": "1KiB"}})
    rig.send(*numbers(0, 2_000))

    rig.step(2_000)

    assert len(seen) == 1_999
    assert rig.runner.pressure.bytes == 2 * len(FIRST)


def test_messages_that_hang_with_more_than_half_of_the_bound_leave_the_rest_to_others() -> None:
    rig, seen = by_key({"in_flight": {"messages": 10}})
    rig.pool.stuck = {b"%d" % n for n in range(6)}
    rig.send(*numbers(0, 10))
    rig.pool.hold = True
    rig.step()
    rig.step()
    assert rig.runner.partitions[SOURCE].paused

    rig.pool.hold = False
    rig.send(*numbers(10, 50))
    rig.step(100)

    assert sorted(seen) == list(range(6, 50))


def test_a_partition_that_is_held_is_read_on_after_a_rewind() -> None:
    rig = Rig(lambda payload: payload, {"in_flight": {"messages": 4 * POLL_LIMIT}}, partitions=4)
    rig.pool.stuck = {FIRST}
    rig.send(*numbers(0, 10 * POLL_LIMIT), partition=0)
    rig.step(20)
    assert rig.runner.partitions[SOURCE].paused

    rig.producer.fail_next("MSG_SIZE_TOO_LARGE: the batch is")
    rig.send("1", partition=1)
    rig.step()
    rig.pool.stuck = set()
    rig.step(12 * POLL_LIMIT)

    assert rig.committed() == 10 * POLL_LIMIT
