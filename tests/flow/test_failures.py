from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from worker.flow.failures import MOST, FailureGroup, FailureGroups, merged
from worker.types import Failure, Message


@dataclass(frozen=True)
class Place:
    topic: str
    partition: int
    offset: int


def at(offset: int) -> Message:
    return cast("Message", cast("Any", Place("orders", 2, offset)))


AWAY = Failure("handler_error", "ConnectionError", "secret payload")
GROUP = FailureGroup(
    "dead-lettered", "handler_error", "ConnectionError", "", 3, "orders", 2, 7, 5.0
)


def test_failures_of_a_kind_are_one_group_with_the_last_one_as_its_example() -> None:
    groups = FailureGroups()

    groups.note("dead-lettered", at(6), AWAY, 4.0)
    groups.note("dead-lettered", at(7), AWAY, 5.0)

    assert groups.latest_first() == (replace(GROUP, count=2),)


def test_other_fates_reasons_and_classes_are_other_groups_the_latest_first() -> None:
    groups = FailureGroups()

    groups.note("tried again", at(1), AWAY, 1.0)
    groups.note("dead-lettered", at(2), AWAY, 2.0)
    groups.note("dead-lettered", at(3), Failure("handler_error", "ValueError"), 3.0)
    groups.note("dead-lettered", at(4), Failure("timeout"), 4.0)
    groups.note("tried again", at(5), AWAY, 5.0)

    assert [(one.became, one.error, one.count) for one in groups.latest_first()] == [
        ("tried again", "ConnectionError", 2),
        ("dead-lettered", "", 1),
        ("dead-lettered", "ValueError", 1),
        ("dead-lettered", "ConnectionError", 1),
    ]


def test_a_text_is_kept_only_where_it_is_known_to_hold_no_payload() -> None:
    groups = FailureGroups()

    groups.note("dead-lettered", at(1), replace(AWAY, text="no such topic", harmless=True), 1.0)
    assert groups.latest_first()[0].text == "no such topic"

    groups.note("dead-lettered", at(2), AWAY, 2.0)
    assert groups.latest_first()[0].text == ""


def test_the_group_that_was_quiet_for_longest_makes_room() -> None:
    groups = FailureGroups()

    for number in range(MOST):
        groups.note("skipped", at(number), Failure("handler_error", f"Error{number}"), number)
    groups.note("skipped", at(100), Failure("handler_error", "Error0"), 100)
    groups.note("skipped", at(101), Failure("handler_error", "New"), 101)

    kept = [one.error for one in groups.latest_first()]
    assert len(kept) == MOST
    assert kept[:2] == ["New", "Error0"]
    assert "Error1" not in kept


def test_groups_of_several_processes_are_added_and_the_last_example_counts() -> None:
    later = replace(GROUP, count=1, offset=99, last=6.0)
    other = replace(GROUP, error="ValueError", last=5.5)

    assert merged([later, other, GROUP]) == (replace(later, count=4), other)
