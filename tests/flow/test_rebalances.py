from __future__ import annotations

from worker.flow.rebalances import Rebalances


def test_what_is_assigned_after_all_was_given_back_belongs_to_the_same_rebalance() -> None:
    eager = Rebalances()

    assert eager.assigned(12)
    assert eager.taken(12, left=0)
    assert not eager.assigned(6)
    assert eager.taken(6, left=0)


def test_what_is_given_back_and_what_is_assigned_later_are_two_where_some_was_kept() -> None:
    sticky = Rebalances()

    assert sticky.assigned(12)
    assert sticky.taken(6, left=6)
    assert not sticky.assigned(0)
    assert sticky.assigned(6)


def test_a_change_of_no_partition_is_none() -> None:
    spare = Rebalances()

    assert not spare.assigned(0)
    assert not spare.taken(0, left=0)
    assert spare.assigned(1)


def test_who_is_given_none_after_all_was_given_back_begins_anew_with_the_next_assignment() -> None:
    eager = Rebalances()

    assert eager.taken(6, left=0)
    assert not eager.assigned(0)
    assert eager.assigned(6)


def test_a_rebalance_takes_as_long_as_giving_all_back_and_being_assigned_some() -> None:
    eager = Rebalances()

    eager.assigned(12)
    assert eager.took(1.0) == 1.0
    eager.taken(12, left=0)
    assert eager.took(5.0) is None
    eager.assigned(6)
    assert eager.took(0.5) == 5.5
    assert eager.end() is None


def test_a_change_of_no_partition_takes_no_time_of_its_own() -> None:
    sticky = Rebalances()

    sticky.assigned(12)
    sticky.took(1.0)
    sticky.taken(6, left=6)
    assert sticky.took(2.0) == 2.0
    sticky.assigned(0)
    assert sticky.took(3.0) is None


def test_after_all_was_given_back_and_none_assigned_it_is_over() -> None:
    eager = Rebalances()

    eager.taken(6, left=0)
    eager.took(2.0)
    assert eager.end() == 2.0
    eager.taken(6, left=0)
    eager.took(2.0)
    eager.assigned(0)
    assert eager.took(1.0) == 3.0
