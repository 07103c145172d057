"""The order in which messages of a partition are handled."""

from hypothesis import given
from hypothesis import strategies as st

from worker.flow.lanes import Lanes
from worker.types import RawMessage, StoredMessage


def messages(*offsets: int) -> list[RawMessage]:
    return [StoredMessage("topic", offset=offset) for offset in offsets]


def test_no_second_run_goes_out_while_one_is_out() -> None:
    lanes = Lanes()
    lanes.add(messages(1, 2, 3))

    assert len(lanes.take(2)) == 2
    assert lanes.take(2) == []
    assert lanes.busy


def test_messages_that_a_run_did_not_handle_come_first_again() -> None:
    lanes = Lanes()
    lanes.add(messages(1, 2, 3))
    run = lanes.take(2)

    lanes.release(run[1:])

    assert [message.offset() for message in lanes.take(9)] == [2, 3]


def test_messages_that_wait_are_forgotten_at_once_when_the_partition_goes() -> None:
    lanes = Lanes()
    lanes.add(messages(1, 2, 3))
    lanes.take(1)

    assert lanes.clear() == 2
    assert len(lanes) == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(0, 4))))
def test_every_message_is_handled_once_and_in_order(
    steps: list[tuple[int, int, int]],
) -> None:
    lanes = Lanes()
    added = 0
    handled: list[int] = []

    for arriving, limit, finished in steps:
        lanes.add(messages(*range(added, added + arriving)))
        added += arriving
        run = lanes.take(limit)
        if run:
            done = min(finished, len(run))
            handled += [message.offset() for message in run[:done]]
            lanes.release(run[done:])

    handled += [message.offset() for message in lanes.take(added + 1)]
    assert handled == list(range(added))
