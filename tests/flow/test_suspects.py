"""Which message has ended a process, found out by trying again."""

from __future__ import annotations

import pytest

from worker.flow.suspects import Place, Suspects, crashed
from worker.types import Failure, TopicPartition

CRASH = crashed(-11)
LATE = Failure("timeout")


def places(*offsets: int) -> list[Place]:
    return [(TopicPartition("t", 0), offset) for offset in offsets]


def test_a_message_is_tried_alone_before_it_dies() -> None:
    suspects = Suspects()

    suspects.blame(places(3), CRASH, 1.5, certain=False)
    first = suspects.fate(places(3)[0])
    suspects.blame(places(3), CRASH, 1.5, certain=False)

    assert first is None
    assert suspects.fate(places(3)[0]) == (CRASH, 3.0), "with the time of both"
    assert len(suspects) == 0, "it is forgotten with its fate"


def test_what_lies_before_a_suspect_goes_together_and_the_suspect_alone() -> None:
    suspects = Suspects()
    suspects.blame(places(3), CRASH, 1.5, certain=False)

    assert suspects.together(places(1, 2, 3, 4)) == 2
    assert suspects.together(places(3, 4)) == 1
    assert suspects.together(places(4, 5)) == 2


def test_a_suspect_that_is_handled_is_one_no_more() -> None:
    suspects = Suspects()
    suspects.blame(places(3, 4), CRASH, 1.5, certain=False)

    suspects.acquit(places(3))
    suspects.blame(places(3), CRASH, 1.5, certain=False)
    suspects.blame(places(4), CRASH, 1.5, certain=False)

    assert suspects.fate(places(3)[0]) is None
    assert suspects.fate(places(4)[0]) == (CRASH, 1.5 / 2 + 1.5)


def test_one_message_that_surely_takes_too_long_is_not_tried_again_but_a_batch_is() -> None:
    suspects = Suspects()
    suspects.blame(places(3), LATE, 3.0, certain=True)
    suspects.blame(places(4, 5), LATE, 3.0, certain=True)

    fates = [suspects.fate(place) for place in places(3, 4, 5)]

    assert fates == [(LATE, 3.0), None, None]


def test_the_same_offset_of_another_partition_is_another_message() -> None:
    suspects = Suspects()
    suspects.blame(places(3), LATE, 3.0, certain=True)

    assert suspects.fate((TopicPartition("t", 1), 3)) is None


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-11, "the process ended by signal 11 (SIGSEGV)"),
        (-200, "the process ended by signal 200 (unknown)"),
        (3, "the process ended with exit code 3"),
    ],
)
def test_how_a_process_ended_is_told_and_holds_no_payload(code: int, words: str) -> None:
    assert crashed(code) == Failure("crash", "", words, harmless=True)
