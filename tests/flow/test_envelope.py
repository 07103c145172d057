"""What is written beside a committed offset."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from worker.flow import envelope
from worker.flow.crashes import Note
from worker.flow.offsets import Ranges

LIMIT = 4_095
"""Characters that a broker takes by default."""


def alternating(span: int, every: int) -> Ranges:
    """Of `span` offsets each `every`th is unfinished: the longest map of so many."""
    return [(start + 1, start + every) for start in range(0, span, every)]


@given(
    committed=st.integers(0, 2**62),
    stretches=st.lists(st.tuples(st.integers(1, 400), st.integers(1, 400)), max_size=200),
)
def test_what_was_finished_comes_back(committed: int, stretches: list[tuple[int, int]]) -> None:
    finished, offset = [], committed
    for unfinished, length in stretches:
        finished.append((offset + unfinished, offset + unfinished + length))
        offset += unfinished + length

    written = envelope.encode(committed, finished)

    assert len(written) <= envelope.BUDGET
    assert list(envelope.decode(written, committed) or ()) == finished


@pytest.mark.parametrize("every", [2, 3, 17, 1_000])
def test_the_shorter_form_is_taken(every: int) -> None:
    written = envelope.encode(0, alternating(20_000, every))

    assert written.startswith("sw1:c0,b" if every < 16 else "sw1:c0,r")


def test_nothing_finished_leaves_nothing_to_write() -> None:
    assert envelope.encode(7, ()) == ""
    assert envelope.decode("", 7) == ()


@example(span=200 * 1_400, unfinished=1_400, seed=Random(0))
@given(span=st.integers(1, 10**6), unfinished=st.integers(1, 2_000), seed=st.randoms())
def test_what_is_said_to_fit_fits_however_it_lies(span: int, unfinished: int, seed: Random) -> None:
    assume(unfinished <= span and envelope.fits(span, unfinished))
    shapes = [
        range(0, span, max(1, span // unfinished)),
        seed.sample(range(span), unfinished),
    ]
    for shape in shapes:
        gaps = sorted({0, *list(shape)[: unfinished - 1]})
        finished = [
            (low + 1, high)
            for low, high in zip(gaps, [*gaps[1:], span], strict=True)
            if high > low + 1
        ]

        written = envelope.encode(0, finished)

        assert len(written) <= envelope.BUDGET < LIMIT
        assert list(envelope.decode(written, 0) or ()) == finished


def test_one_message_may_hold_any_number_of_finished_ones() -> None:
    assert envelope.fits(10**12, 1)
    assert envelope.decode(envelope.encode(5, [(6, 10**12)]), 5) == [(6, 10**12)]


def test_what_does_not_fit_is_left_out_from_the_top() -> None:
    finished = alternating(1_000_000, 200)

    kept = envelope.decode(envelope.encode(0, finished), 0)

    assert kept
    assert list(kept) == finished[: len(kept)]
    assert not envelope.fits(1_000_000, 5_000)


@pytest.mark.parametrize(
    "foreign",
    [
        "by hand",
        "{}",
        "sw2:r",
        "sw1:c5,r~ ~",
        "sw1:c5,r!!",
        "sw1:c5,b0{",
        "sw1:c5,r" + "~" * 50,
        "AQAAAA==",
    ],
)
def test_what_is_not_ours_is_no_map(foreign: str) -> None:
    assert envelope.decode(foreign, 5) is None


@pytest.mark.parametrize("offset", [99, 101])
def test_a_map_that_was_copied_to_another_offset_is_no_map(offset: int) -> None:
    written = envelope.encode(100, [(110, 200)])

    assert envelope.decode(written, offset) is None


def test_sections_of_later_versions_are_passed_over() -> None:
    written = envelope.encode(0, [(3, 5)])

    assert envelope.decode("sw1:s1,x22," + written.removeprefix("sw1:"), 0) == [(3, 5)]
    assert envelope.decode("sw1:s1", 0) == ()


@given(st.text(max_size=40))
def test_no_text_is_a_map_that_cannot_be(text: str) -> None:
    finished = envelope.decode("sw1:c10," + text, 10)

    if finished:
        offsets = [offset for bounds in finished for offset in bounds]
        assert offsets == sorted(set(offsets))
        assert offsets[0] > 10


def test_a_suspect_beside_another_offset_is_none() -> None:
    written = envelope.encode(5, (), Note("me", 2, suspect=9, tries=1))

    assert envelope.note_of(written, 5).suspect == 9
    assert envelope.note_of(written, 3) == Note("me", 2)
