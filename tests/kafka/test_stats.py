"""What statistics say of connections."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from worker.kafka.stats import lost_between


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, False),
        ({}, {"a": 0}, False),
        ({"a": 1}, {"a": 2}, True),
        ({"a": 1}, {"a": 1, "b": 1}, True),
        ({"a": 1, "b": 1}, {"a": 1}, True),
        ({"a": 2, "b": 1}, {"a": 1, "b": 2}, True),
    ],
)
def test_what_was_lost_in_between_is_seen_by_each_broker_and_by_brokers_that_have_gone(
    before: Mapping[str, int], after: Mapping[str, int], *, expected: bool
) -> None:
    assert lost_between(before, after) is expected
