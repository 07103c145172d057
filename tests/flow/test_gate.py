"""Lanes of which one message at a time is let in."""

from __future__ import annotations

import pytest

from worker.flow.gate import GatedLanes
from worker.flow.lanes import LANES
from worker.types import RawMessage, StoredMessage


def messages(*offsets: int) -> list[RawMessage]:
    return [StoredMessage("t", 0, offset, key=b"%d" % (offset % 3)) for offset in offsets]


@pytest.mark.parametrize("ordering", LANES)
def test_messages_come_one_at_a_time_in_the_order_of_their_offsets(ordering: str) -> None:
    lanes = GatedLanes(LANES[ordering](), 100)
    lanes.add(messages(3, 4, 7))
    done: list[int] = []
    assert (len(lanes), lanes.ready, lanes.take(9)) == (3, 0, [])

    for offset in (3, 4, 7):
        assert lanes.let_in(done.__contains__) == offset
        assert lanes.let_in(done.__contains__) == offset, "it is not finished"
        (run,) = [lanes.take(9)]
        assert [message.offset() for message in run] == [offset]
        lanes.release(run, 1)
        done.append(offset)

    assert lanes.let_in(done.__contains__) is None
    assert len(lanes) == 0


def test_one_that_has_to_be_first_is_waited_for() -> None:
    lanes = GatedLanes(LANES["key"](), 100)
    lanes.add(messages(3, 4))
    assert lanes.let_in(lambda _offset: False, 5) is None

    lanes.add(messages(5, 6))

    assert lanes.let_in(lambda _offset: False, 5) == 5
    assert [message.offset() for message in lanes.take(9)] == [5]


def test_what_is_in_doubt_ends_with_the_region_or_where_the_log_ended() -> None:
    lanes = GatedLanes(LANES["partition"](), 3)

    lanes.add(messages(10, 20))
    before = lanes.end
    lanes.add(messages(30, 40))

    assert before > 2**60
    assert lanes.end == 31
    lanes.bound(25)
    assert lanes.end == 25
    lanes.bound(90)
    assert lanes.end == 25


@pytest.mark.parametrize("ordering", LANES)
def test_the_lanes_behind_an_open_gate_have_everything_in_order(ordering: str) -> None:
    lanes = GatedLanes(LANES[ordering](), 100)
    lanes.add(messages(0, 1, 2))
    lanes.let_in(lambda _offset: False)

    behind = lanes.open()

    assert [message.offset() for message in behind.take(9)] == [0, 1, 2]
    assert len(lanes) == 0


def test_what_is_forgotten_is_counted_on_both_sides_of_the_gate() -> None:
    lanes = GatedLanes(LANES["none"](), 100)
    lanes.add(messages(0, 1, 2))
    lanes.let_in(lambda _offset: False)

    assert lanes.clear() == 3
    assert len(lanes) == 0
