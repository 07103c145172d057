from __future__ import annotations

import pytest

from worker.settings.patterns import flaw, reads, unmatched


@pytest.mark.parametrize(
    "pattern",
    [
        "^orders-.*",
        "^orders-.*$",
        "^(a|b)[0-9]+",
        r"^eu\.orders",
        "^a{2}b{1,}c{1,3}",
        "^[(?=]x",
        "^.*",
        "^(a|b+)c+",
        "^((a|b)-c)?d",
        "^(ab){2}",
        r"^([+|*]\+)+",
        r"^([?]\?)+",
        "^(ab?c?)?d?",
    ],
)
def test_a_pattern_that_means_the_same_everywhere_is_legal(pattern: str) -> None:
    assert flaw(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("^a(?=b)", "holds look-around; brokers do not know it"),
        ("^a(?!b)", "holds look-around; brokers do not know it"),
        ("^a(?<!b)", "holds look-around; brokers do not know it"),
        (r"^(a)\1", "holds a reference back to a group; brokers do not know it"),
        ("^(?P<x>a)(?P=x)", "holds a group with `(?`; legal is `(...)`"),
        ("^(?:a)", "holds a group with `(?`; legal is `(...)`"),
        (r"^a\d", r"holds `\d`, which not all know; write a set such as [0-9]"),
        ("^a*+", "holds `*+`, a repetition of a repetition"),
        ("^a+?", "holds `+?`, a repetition of a repetition"),
        ("^a{,3}", "holds a `{` that is no count; legal are such as {2} and {2,3}"),
        ("^a{1001}", "holds a `{` that is no count; legal are such as {2} and {2,3}"),
        (r"^[\.]", r"holds [\.]; legal in a set are letters, digits, '.', '_', '-'"),
        ("^[[:digit:]]", "holds [[:digit:]; legal in a set are letters, digits, '.', '_', '-'"),
        ("^a(b", "is no regular expression: missing ), unterminated subpattern at position 2"),
        ("^[b", "is no regular expression: unterminated character set at position 1"),
    ],
)
def test_a_pattern_is_refused_with_the_piece_that_is_not_legal(pattern: str, expected: str) -> None:
    assert flaw(pattern) == expected


@pytest.mark.parametrize(
    "pattern",
    [
        "^(a+)+b",
        "^((a*))*b",
        "^(a|a)*b",
        "^((a|b)c)+",
        "^(a{1,9}){2}",
        "^(a?a?)*b",
        "^([a-z]?[a-z0-9]?)+-v1",
        "^((a?)b?){2,9}",
    ],
)
def test_a_pattern_that_may_take_for_ever_is_refused(pattern: str) -> None:
    assert str(flaw(pattern)).startswith("repeats a group with a repetition, `?` or `|` in it")


@pytest.mark.parametrize(
    ("sources", "topic", "read"),
    [
        (["^orders-.*"], "orders-eu", True),
        (["^orders"], "orders-eu", False),
        (["^orders|^other"], "other", True),
        (["^orders|other"], "orders-other", False),
        (["orders", "^x.*"], "orders", True),
        (["orders"], "orders-eu", False),
        (["^.*"], "__consumer_offsets", False),
        (["__own"], "__own", True),
    ],
)
def test_whole_names_are_read_and_topics_of_kafka_by_their_names_only(
    sources: list[str], topic: str, *, read: bool
) -> None:
    assert reads(sources, topic) is read


def test_a_pattern_is_unmatched_until_a_topic_matches_a_name_never() -> None:
    assert unmatched(["a", "^b.*", "^c.*"], ["c1", "x"]) == ["^b.*"]
