"""What workers tell of themselves is summed up over their pipelines."""

from __future__ import annotations

import pytest

from tests.faults.told import in_flight, is_joined, owned, rebalances

STATS = {
    "pipelines": {
        "exact": {
            "partitions": [{"topic": "input", "partition": 1}, {"topic": "input", "partition": 4}],
            "in_flight": 7,
            "counts": {"rebalances": 2},
        },
        "least": {
            "partitions": [{"topic": "input", "partition": 1}],
            "in_flight": 5,
            "counts": {"rebalances": 3},
        },
    }
}


def test_partitions_work_and_rebalances_are_those_of_all_pipelines() -> None:
    assert owned(STATS) == {("exact", "input", 1), ("exact", "input", 4), ("least", "input", 1)}
    assert in_flight(STATS) == 12
    assert rebalances(STATS) == 5


@pytest.mark.parametrize(
    ("exact", "least", "is_one"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_one_has_joined_once_it_is_a_member_of_all_its_groups(
    *, exact: bool, least: bool, is_one: bool
) -> None:
    pipelines = {"exact": {"joined": exact}, "least": {"joined": least}}

    assert is_joined({"pipelines": pipelines}) == is_one


def test_one_that_does_not_answer_has_nothing() -> None:
    assert not is_joined({})
    assert (owned("timed out"), in_flight("timed out"), rebalances({})) == (set(), 0, 0)
