"""Fences of lanes: when they are raised, what holds them up, and when they are lifted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from worker.flow.fence import Fences, Lane, decode, encode, fence_record, lane_of, tier_of
from worker.types import Encoded, TopicPartition

SOURCE = TopicPartition("source", 3)
LANE = b"0123456789abcdef"
OTHER = b"fedcba9876543210"
FIRST, SECOND = 0, 1


def nowhere(_tier: int, _lane: Lane) -> bool:
    return False


def above(*lanes: Lane) -> Callable[[int, Lane], bool]:
    return lambda _tier, lane: lane in lanes


def moved(fences: Fences, end: int, *lanes: Lane, tier: int = FIRST) -> None:
    """Messages that lie below this end of their tier."""
    for lane in lanes:
        fences.move(lane, tier)
    for lane in lanes:
        fences.stored(lane)
    fences.mark({tier: end})


def test_the_name_of_a_lane_tells_its_partition_and_key_from_others() -> None:
    names = [
        lane_of(SOURCE, b"key"),
        lane_of(SOURCE, b"other"),
        lane_of(SOURCE, "key"),
        lane_of(TopicPartition("source", 4), b"key"),
        lane_of(TopicPartition("other", 3), b"key"),
    ]

    assert lane_of(SOURCE, b"key") == names[0]
    assert len({*names}) == len(names)
    assert all(name is not None and len(name) == 16 for name in names)


def test_a_message_that_shares_its_lane_with_no_other_has_no_lane_that_could_be_fenced() -> None:
    assert lane_of(SOURCE, None) is None


def test_half_a_surrogate_pair_is_a_lane_like_others() -> None:
    assert lane_of(SOURCE, "\ud800") != lane_of(SOURCE, "\ud801")


def test_the_key_of_a_fence_can_be_read_again() -> None:
    assert decode(encode(SOURCE, LANE)) == (SOURCE, LANE)


@pytest.mark.parametrize(
    "key", [None, b"", b"source", b"source/3", b"source/3/", b"source/x/a", b"\xff/3/a", b"s/-1/a"]
)
def test_what_is_no_key_of_a_fence_is_none(key: bytes | None) -> None:
    assert decode(key) is None


def test_a_record_names_the_tier_and_one_without_lifts_the_fence() -> None:
    key = encode(SOURCE, LANE)

    assert fence_record("fence", SOURCE, LANE, 1) == Encoded("fence", b"1", key, partition=0)
    assert fence_record("fence", SOURCE, LANE, None) == Encoded("fence", None, key, partition=0)


@pytest.mark.parametrize(
    ("value", "tier"), [(b"0", 0), (b"12", 12), (None, None), (b"", None), (b"x", None)]
)
def test_the_value_of_a_fence_names_a_tier_or_lifts_it(value: bytes | None, tier: int) -> None:
    assert tier_of(value) == tier


def test_a_fence_is_written_with_the_first_message_that_is_moved_and_not_again() -> None:
    fences = Fences()

    assert [fences.move(LANE, FIRST) for _ in range(3)] == [True, False, False]
    assert LANE in fences
    assert OTHER not in fences
    assert len(fences) == 1


def test_a_lane_that_is_fenced_keeps_its_tier() -> None:
    fences = Fences()
    fences.move(LANE, SECOND)
    fences.move(LANE, FIRST)

    assert fences.tier_of(LANE) == SECOND


def test_a_fence_is_lifted_when_all_that_was_moved_is_committed() -> None:
    fences = Fences()
    moved(fences, 7, LANE)

    assert fences.report({FIRST: 6}, nowhere) == []
    assert fences.report({FIRST: 7}, nowhere) == [LANE]
    assert LANE not in fences


def test_it_stays_while_a_message_is_on_its_way() -> None:
    fences = Fences()
    moved(fences, 7, LANE)
    fences.move(LANE, FIRST)

    assert fences.report({FIRST: 9}, nowhere) == []

    fences.stored(LANE)
    fences.mark({FIRST: 9})
    assert fences.report({FIRST: 9}, nowhere) == [LANE]


def test_it_stays_while_nobody_knows_where_the_last_message_is() -> None:
    fences = Fences()
    moved(fences, 7, LANE)
    fences.move(LANE, FIRST)
    fences.stored(LANE)

    assert fences.report({FIRST: 100}, nowhere) == []
    assert fences.tiers == {FIRST}


def test_the_end_of_another_tier_says_nothing() -> None:
    fences = Fences()
    fences.move(LANE, SECOND)
    fences.stored(LANE)
    fences.mark({FIRST: 7})

    assert fences.tiers == {SECOND}
    assert fences.awaited == set()


def test_it_stays_while_the_lane_is_fenced_in_its_tier() -> None:
    fences = Fences()
    moved(fences, 7, LANE, OTHER)

    assert fences.report({FIRST: 7}, above(LANE)) == [OTHER]
    assert fences.look_above(above(LANE)) == []
    assert fences.look_above(nowhere) == [LANE]
    assert len(fences) == 0


def test_what_came_later_than_a_message_that_moved_on_holds_the_fence_too() -> None:
    fences = Fences()
    moved(fences, 7, LANE)
    fences.report({FIRST: 7}, above(LANE))
    moved(fences, 9, LANE)

    assert fences.look_above(nowhere) == []
    assert fences.report({FIRST: 8}, nowhere) == []
    assert fences.report({FIRST: 9}, nowhere) == [LANE]


def test_a_fence_closes_when_the_first_message_is_through_and_later_ones_are_not() -> None:
    fences = Fences()
    moved(fences, 7, LANE)
    moved(fences, 9, LANE)
    before = fences.is_closing(LANE)

    fences.report({FIRST: 7}, nowhere)

    assert (before, fences.is_closing(LANE)) == (False, True)


def test_a_fence_does_not_close_while_a_message_waits_that_was_moved_last() -> None:
    fences = Fences()
    moved(fences, 7, LANE)
    fences.move(LANE, FIRST, waits=True)
    fences.stored(LANE)
    fences.mark({FIRST: 9})

    fences.report({FIRST: 8}, nowhere)
    before = fences.is_closing(LANE)
    moved(fences, 11, LANE)
    fences.report({FIRST: 9}, nowhere)

    assert (before, fences.is_closing(LANE)) == (False, True)


def test_a_closing_fence_opens_again_when_a_later_message_moves_on() -> None:
    fences = Fences()
    moved(fences, 7, LANE)
    moved(fences, 9, LANE)
    fences.report({FIRST: 7}, nowhere)

    fences.report({FIRST: 9}, above(LANE))

    assert not fences.is_closing(LANE)
    assert LANE in fences


def test_a_fence_of_an_earlier_owner_waits_for_the_end_that_the_tier_has() -> None:
    fences = Fences()
    fences.inherit(LANE, FIRST, 5)

    assert fences.awaited == {FIRST}
    assert fences.report({FIRST: 4}, nowhere) == []
    assert fences.report({FIRST: 5}, nowhere) == [LANE]


def test_it_is_written_again_before_the_new_owner_moves_anything() -> None:
    fences = Fences()
    fences.inherit(LANE, FIRST, 5)

    assert [fences.move(LANE, FIRST) for _ in range(2)] == [True, False]


def test_a_lane_can_be_fenced_anew() -> None:
    fences = Fences()
    moved(fences, 7, LANE)
    fences.report({FIRST: 7}, nowhere)

    assert fences.move(LANE, SECOND)
    fences.stored(LANE)
    fences.mark({SECOND: 1})
    assert fences.report({FIRST: 99}, nowhere) == []
    assert fences.report({SECOND: 1}, nowhere) == [LANE]


def test_lanes_are_told_free_in_the_order_in_which_their_messages_were_stored() -> None:
    fences = Fences()
    lanes = [b"%016d" % number for number in range(50)]
    moved(fences, 7, *lanes)

    assert fences.report({FIRST: 7}, above(*lanes[10:])) == lanes[:10]
    assert fences.look_above(nowhere) == lanes[10:]
