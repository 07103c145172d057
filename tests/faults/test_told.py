"""What workers tell of themselves is summed up over their pipelines."""

from __future__ import annotations

from tests.faults.told import in_flight, owned, rebalances

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


def test_one_that_does_not_answer_has_nothing() -> None:
    assert (owned("timed out"), in_flight("timed out"), rebalances({})) == (set(), 0, 0)
