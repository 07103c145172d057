"""Whether a partition gets on, by what was seen of it one time after the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import inf

from worker.flow.stuck import (
    FIRST_AFTER,
    HOPELESS_AFTER,
    NEXT_AFTER,
    REPAIRS,
    STANDS_AFTER,
    Repair,
    Sight,
    Standstill,
    carried_on,
    progress,
    repair_due,
    repaired,
    seen,
)

STANDS = Sight(position=10, fetched=10, end=20, taken=100, waiting=0, read_since=-inf)
"""A partition that has ten messages of which none comes."""


def after(sights: Iterable[tuple[float, Sight]]) -> Standstill | None:
    standstill = None
    for now, sight in sights:
        standstill = seen(standstill, sight, now)
    return standstill


def standing(*sights: tuple[float, Sight]) -> Standstill:
    """The standstill of a partition that was seen like this."""
    standstill = after(sights)
    assert standstill is not None
    return standstill


def in_vain() -> Standstill:
    """A standstill that all repairs have left as it is."""
    standstill = standing((0.0, STANDS))
    for number in range(len(REPAIRS)):
        standstill = repaired(standstill, FIRST_AFTER + number * NEXT_AFTER)
    return standstill


def test_a_partition_with_messages_that_stays_where_it_is_stands_still() -> None:
    standstill = standing((0.0, STANDS), (5.0, STANDS))

    assert standstill.since == 0.0
    assert progress(standstill, STANDS_AFTER - 1) == "moves"
    assert progress(standstill, STANDS_AFTER) == "stands"


def test_a_partition_at_its_end_does_not_stand_still() -> None:
    assert after([(0.0, STANDS), (5.0, replace(STANDS, end=10))]) is None
    assert progress(None, 1_000.0) == "moves"


def test_what_is_fetched_up_to_the_end_has_no_messages_left_whatever_the_position() -> None:
    """Markers of transactions end a log, and the messages of those that were aborted."""
    assert after([(0.0, replace(STANDS, position=10, fetched=20))]) is None


def test_a_partition_that_gets_on_slowly_begins_anew_with_each_message() -> None:
    sights = [(5.0 * n, replace(STANDS, position=10 + n, fetched=19)) for n in range(9)]

    standstill = standing(*sights)

    assert standstill.since == 40.0
    assert repair_due(standstill, 45.0) is None


def test_a_partition_that_is_fetched_gets_on() -> None:
    standstill = standing((0.0, STANDS), (60.0, replace(STANDS, fetched=15)))

    assert standstill.since == 60.0


def test_a_partition_that_was_paused_meanwhile_begins_anew() -> None:
    resumed = replace(STANDS, read_since=58.0)

    assert standing((0.0, STANDS), (60.0, resumed)).since == 60.0
    assert standing((0.0, STANDS), (60.0, resumed), (65.0, resumed)).since == 60.0


def test_where_messages_wait_in_the_client_from_look_to_look_its_own_may_be_among_them() -> None:
    slow = [(5.0 * n, replace(STANDS, waiting=100, taken=10 * n)) for n in range(20)]

    assert standing(*slow).since == 95.0


def test_where_what_waits_in_the_client_is_through_by_the_next_look_its_own_are_not_there() -> None:
    quick = [(5.0 * n, replace(STANDS, waiting=100, taken=100 * n)) for n in range(20)]
    emptied = replace(STANDS, waiting=0, taken=1_900)

    assert standing(*quick).since == 0.0
    assert standing(*quick, (100.0, emptied)).since == 0.0


def test_repairs_come_one_after_the_other_each_with_time_to_help() -> None:
    standstill, done = standing((0.0, STANDS)), list[tuple[int, Repair]]()
    for second in range(200):
        repair = repair_due(standstill, float(second))
        if repair is not None:
            done.append((second, repair))
            standstill = repaired(standstill, float(second))

    assert done == [(30, "seek"), (45, "pause"), (60, "assign"), (75, "renew")]


def test_no_repair_is_due_while_others_keep_the_client_full() -> None:
    tried = repaired(standing((0.0, replace(STANDS, waiting=100))), 30.0)
    slow = seen(tried, replace(STANDS, waiting=100), 44.0)

    assert slow is not None
    assert slow.repairs == 1
    assert repair_due(slow, 50.0) is None
    assert repair_due(slow, 44.0 + NEXT_AFTER) == "pause"


def test_a_repair_that_reads_again_what_was_fetched_is_no_progress() -> None:
    before = repaired(standing((0.0, replace(STANDS, fetched=15))), 20.0)

    again = seen(before, replace(STANDS, fetched=10), 25.0)
    behind = seen(again, replace(STANDS, fetched=15), 30.0)

    assert again == behind == before


def test_a_partition_that_gets_on_after_a_repair_may_be_repaired_again() -> None:
    moved = seen(repaired(standing((0.0, STANDS)), 30.0), replace(STANDS, position=11), 35.0)

    assert moved is not None
    assert moved.repairs == 0
    assert repair_due(moved, 35.0 + FIRST_AFTER) == "seek"


def test_what_no_repair_has_helped_is_stuck_and_hopeless_when_that_lasts() -> None:
    last = FIRST_AFTER + 3 * NEXT_AFTER

    assert progress(repaired(standing((0.0, STANDS)), 30.0), 30.0) == "repaired"
    assert progress(in_vain(), last) == "repaired"
    assert progress(in_vain(), last + NEXT_AFTER) == "stuck"
    assert progress(in_vain(), HOPELESS_AFTER - 1) == "stuck"
    assert progress(in_vain(), HOPELESS_AFTER) == "hopeless"


def test_nothing_is_hopeless_before_all_was_tried() -> None:
    late = replace(in_vain(), repaired=HOPELESS_AFTER)

    assert progress(standing((0.0, STANDS)), HOPELESS_AFTER + 1) == "stands"
    assert progress(late, HOPELESS_AFTER + 1) == "repaired"


def test_with_a_new_client_a_partition_has_to_move_from_where_that_begins() -> None:
    given_up = in_vain()
    behind = replace(STANDS, position=7, fetched=7)

    standstill = carried_on(given_up, behind, 80.0)

    assert standstill is not None
    assert progress(seen(standstill, behind, 81.0), 80.0 + NEXT_AFTER - 1) == "repaired"
    assert progress(seen(standstill, behind, 95.0), 80.0 + NEXT_AFTER) == "stuck"
    assert progress(seen(standstill, behind, HOPELESS_AFTER), HOPELESS_AFTER) == "hopeless"
    moved = seen(standstill, replace(behind, position=8), 95.0)
    assert moved is not None
    assert moved.repairs == 0


def test_what_an_earlier_client_was_given_up_for_long_ago_counts_no_more() -> None:
    given_up = in_vain()
    latest = given_up.repaired + HOPELESS_AFTER

    assert carried_on(given_up, STANDS, latest) is not None
    assert carried_on(given_up, STANDS, latest + 1.0) is None
