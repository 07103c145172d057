"""Where a group goes on after a reset."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from worker.flow.reset import At, Log, Move, Shift, Target, moves
from worker.types import Commit, TopicPartition

SOURCE = TopicPartition("orders", 0)
LOG = Log(low=10, end=100, found=60)


@pytest.mark.parametrize(
    ("target", "to"),
    [
        ("oldest", 10),
        ("newest", 100),
        (datetime(2026, 1, 1, tzinfo=UTC), 60),
        (At(42), 42),
        (Shift(-5), 45),
        (Shift(5), 55),
        (Shift(-1_000), 10),
        (Shift(1_000), 100),
    ],
)
def test_a_reset_leads_to_a_place_in_the_log(target: Target, to: int) -> None:
    now = Commit(50)

    assert moves(target, {SOURCE: LOG}, {SOURCE: now}).changes == [Move(SOURCE, now, to)]


def test_a_partition_without_an_offset_gets_one_but_for_a_shift_of_nothing() -> None:
    assert moves("newest", {SOURCE: LOG}, {}).changes == [Move(SOURCE, None, 100)]
    assert moves(Shift(-1), {SOURCE: LOG}, {}).unchanged == [SOURCE]


def test_what_is_there_already_is_left() -> None:
    assert moves(At(50), {SOURCE: LOG}, {SOURCE: Commit(50)}).unchanged == [SOURCE]


def test_what_is_noted_beside_an_offset_goes_be_the_offset_the_same() -> None:
    noted = Commit(50, "sw1:r")

    assert moves(At(50), {SOURCE: LOG}, {SOURCE: noted}).changes == [Move(SOURCE, noted, 50)]


def test_a_shift_out_of_the_log_is_cut_at_its_end_and_says_by_how_much() -> None:
    other, third = TopicPartition("orders", 1), TopicPartition("orders", 2)
    logs = {SOURCE: LOG, other: LOG, third: LOG}
    committed = {SOURCE: Commit(50), other: Commit(95), third: Commit(100)}

    further, back = moves(Shift(7), logs, committed), moves(Shift(-41), logs, committed)

    assert further.cut == {other: 2, third: 7}
    assert further.unchanged == [third]
    assert back.cut == {SOURCE: 1}
    assert moves("newest", logs, committed).cut == {}


def test_all_partitions_that_do_not_have_the_offset_are_told_at_once() -> None:
    other = TopicPartition("orders", 1)

    found = moves(
        At(70), {SOURCE: LOG, other: Log(0, 5, 0), TopicPartition("a", 0): Log(80, 90, 0)}, {}
    )

    assert found.problems == [
        "offset 70 of a[0] is not in the log; legal are 80 to 90",
        "offset 70 of orders[1] is not in the log; legal are 0 to 5",
    ]
    assert moves(At(100), {SOURCE: LOG}, {}).problems == []
