"""The ledger of a dead-letter topic."""

from __future__ import annotations

import pytest

from worker.flow.ledger import Entry, Fate, Ledger

ENTRY = Entry("redriven", "orders", 5_000)


def taken(ledger: Ledger, fate: Fate = "redriven", to: str | None = "orders") -> Ledger:
    record = ledger.entry("dlq.ledger", (3, 42), fate, to, 5_000)
    reader = Ledger("id-1")
    reader.take(record.key, record.value)
    return reader


def test_an_entry_says_what_has_become_of_a_dead_letter() -> None:
    assert taken(Ledger("id-1")).entries == {(3, 42): ENTRY}
    assert taken(Ledger("id-1"), "dropped", None).entries == {
        (3, 42): Entry("dropped", None, 5_000)
    }


def test_its_key_is_the_place_so_that_compaction_keeps_the_last_one() -> None:
    record = Ledger("id-1").entry("dlq.ledger", (3, 42), "parked", "dlq.parked", 0)

    assert (record.topic, record.key) == ("dlq.ledger", b"3:42")


def test_entries_of_a_topic_that_was_made_again_do_not_count() -> None:
    assert taken(Ledger("id-0")).entries == {}


def test_a_tombstone_takes_an_entry_back() -> None:
    ledger = taken(Ledger("id-1"))

    ledger.take(b"3:42", None)

    assert ledger.entries == {}


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"\xff", b'{"fate": "lost in 2.0"}'])
def test_an_entry_that_cannot_be_read_counts_so_that_nothing_is_moved_twice(value: bytes) -> None:
    ledger = Ledger("id-1")

    ledger.take(b"3:42", value)

    assert (3, 42) in ledger.entries


@pytest.mark.parametrize("key", [None, b"", b"3", b"3:", b"x:1", b"-1:2", b"3:42 "])
def test_a_record_that_is_no_entry_is_passed_over(key: bytes | None) -> None:
    ledger = Ledger("id-1")

    ledger.take(key, b"{}")

    assert ledger.entries == {}
