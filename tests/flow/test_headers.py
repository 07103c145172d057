"""Headers of ours are read whoever has written them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.flow import headers


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (b"0", 0),
        (b"9223372036854775807", 2**63 - 1),
        (b"9223372036854775808", None),
        (b"9" * 10_000, None),
        (b"-1", None),
        (b"", None),
        (b"1 ", None),
        (b"1\n", None),
        (b"1_0", None),
        ("\u0661".encode(), None),
        (b"\xff", None),
        (None, None),
    ],
)
def test_a_number_is_one_of_64_bits_in_digits_or_none(
    value: bytes | None, number: int | None
) -> None:
    assert headers.number(value) == number


def test_a_number_may_be_allowed_to_be_less_than_zero() -> None:
    assert headers.number(b"-1", least=-1) == -1
    assert headers.number(b"-2", least=-1) is None


@given(st.text(st.characters(codec="utf-8")).flatmap(lambda one: st.sampled_from([one, one * 600])))
def test_of_a_text_whole_characters_from_its_beginning_are_written_and_read(text: str) -> None:
    (value,) = headers.written("retry.", {"error": text}).values()

    assert len(value) <= headers.TEXT_LIMIT
    assert text.startswith(headers.text(value))
    assert headers.text(value).encode() == value
    assert headers.text(text.encode()) == headers.text(value)


def test_what_is_no_text_is_left_out_of_one() -> None:
    assert headers.text(b"a\xffb") == "ab"
    assert headers.text(None) == ""
