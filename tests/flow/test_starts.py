from __future__ import annotations

from collections.abc import Mapping

import pytest

from worker.flow.starts import unbegun
from worker.types import Commit, TopicPartition

A0, A1, B0 = TopicPartition("a", 0), TopicPartition("a", 1), TopicPartition("b", 0)


@pytest.mark.parametrize(
    ("committed", "named", "there", "expected"),
    [
        ({A0: None, A1: None}, ["a"], ["a"], {A0, A1}),
        ({A0: 5, A1: None}, ["a"], ["a"], set()),
        ({A0: 0, A1: None}, ["a"], ["a"], set()),
        ({A0: 5, B0: None}, ["a", "b"], ["a", "b"], {B0}),
        ({A0: None, B0: None}, [], ["a", "b"], {A0, B0}),
        ({A0: None, B0: None}, [], ["a"], {A0}),
        ({A0: 5, B0: None}, [], ["a", "b"], set()),
        ({A0: 5, B0: None}, ["a"], ["a", "b"], set()),
        ({A0: None, B0: 5}, ["a"], ["a"], {A0}),
        ({}, ["a"], ["a"], set()),
    ],
    ids=[
        "a topic without a commit",
        "a topic with one",
        "a topic with one at its first message",
        "a named topic beside one with a commit",
        "two that a pattern has matched",
        "one of which was not there at the start",
        "a matched topic beside a matched one with a commit",
        "a matched topic beside a named one with a commit",
        "a named topic beside a matched one with a commit",
        "no topic at all",
    ],
)
def test_a_group_begins_with(
    committed: Mapping[TopicPartition, int | None],
    named: list[str],
    there: list[str],
    expected: set[TopicPartition],
) -> None:
    commits = {p: None if offset is None else Commit(offset) for p, offset in committed.items()}

    assert unbegun(commits, named, there) == expected
