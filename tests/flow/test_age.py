from __future__ import annotations

import pytest

from worker.flow.age import KEPT, Ages, Samples, furthest


def test_between_two_samples_records_were_written_evenly() -> None:
    written = Samples()
    written.note(10, 100.0)
    written.note(20, 200.0)

    assert written.at(10) == 100.0
    assert written.at(13) == 130.0
    assert written.at(20) == 200.0
    assert written.at(99) == 200.0


def test_many_samples_are_thinned_out_and_say_the_same() -> None:
    written = Samples()
    for offset in range(10 * KEPT):
        written.note(offset, offset * 2.0)

    assert len(written._samples) <= KEPT
    assert [written.at(offset) for offset in (0, 123, 10 * KEPT - 1)] == [
        pytest.approx(offset * 2.0) for offset in (0, 123, 10 * KEPT - 1)
    ]


def test_in_front_of_the_first_sample_nothing_is_known() -> None:
    written = Samples()
    written.note(10, 100.0)

    assert written.at(9) is None
    assert written.above(9) == (10, 100.0)


def test_what_is_learnt_later_of_an_earlier_record_counts_there() -> None:
    written = Samples()
    written.note(10, 100.0)
    written.note(3, 30.0)

    assert (written.at(3), written.at(10)) == (30.0, 100.0)


def test_what_is_forgotten_lies_in_front_of_what_counts() -> None:
    written = Samples()
    for offset in (0, 5, 10):
        written.note(offset, offset * 2.0)

    written.forget(7)

    assert (written.at(4), written.at(7)) == (None, 14.0)


def test_what_is_all_finished_is_not_behind() -> None:
    ages = Ages()
    ages.taken(7, 100.0)

    assert ages.behind(8, 8, time=500.0) == 0.0


def test_the_age_is_that_of_the_first_record_that_is_not_finished() -> None:
    ages = Ages()
    ages.taken(7, 100.0)

    assert ages.behind(7, 12, time=160.0) == 60.0


def test_of_a_backlog_at_the_start_timestamps_say_how_old_it_is() -> None:
    ages = Ages()
    ages.taken(0, 100.0)
    ages.reached(1_000, 5_000.0)

    assert ages.behind(0, 1_000, time=5_001.0) == pytest.approx(4_901.0)


def test_of_a_paused_partition_the_last_moment_counts_at_which_its_log_was_no_longer() -> None:
    ages = Ages()
    ages.ended(10, 100.0)
    ages.ended(10, 130.0)
    ages.ended(15, 140.0)

    assert ages.behind(10, 15, time=190.0) == 60.0


def test_what_was_not_read_yet_is_no_older_than_the_end_in_front_of_it() -> None:
    ages = Ages()
    ages.taken(0, 100.0)
    ages.ended(10, 130.0)
    ages.ended(15, 140.0)

    assert ages.behind(10, 15, time=190.0) == 60.0


def test_a_backlog_of_two_ages_is_as_old_as_its_first_record() -> None:
    ages = Ages()
    ages.taken(1_500, 90_000.0)
    ages.taken(0, 3_600.0)

    assert ages.behind(0, 2_000, time=90_006.0) == 86_406.0


def test_a_record_of_a_clock_that_is_ahead_is_as_old_as_the_end_behind_it_at_least() -> None:
    ages = Ages()
    ages.reached(1_000, 100.0)
    ages.taken(40, 3_700.0)
    ages.reached(1_000, 110.0)
    ages.reached(1_200, 115.0)

    assert ages.behind(40, 1_200, time=120.0) == 20.0
    assert ages.no_later(1_100, 3_700.0) == 115.0
    assert ages.no_later(1_200, 3_700.0) == 3_700.0


def test_what_lies_in_front_of_all_that_is_known_is_of_unknown_age() -> None:
    ages = Ages()
    ages.taken(500, 90.0)
    ages.reached(1_000, 100.0)

    assert ages.behind(0, 1_000, time=120.0) is None


def test_a_record_without_a_timestamp_says_nothing() -> None:
    ages = Ages()
    ages.taken(7, -0.001)
    ages.taken(7, 0.0)

    assert ages.behind(7, 12, time=160.0) is None


def test_without_an_end_it_is_not_known_how_far_behind_a_partition_is() -> None:
    ages = Ages()
    ages.taken(7, 100.0)

    assert ages.behind(7, None, time=160.0) is None


def test_a_clock_that_is_late_does_not_make_records_younger_than_now() -> None:
    ages = Ages()
    ages.taken(7, 200.0)

    assert ages.behind(7, 12, time=160.0) == 0.0


def test_the_committed_offset_ages_while_there_is_something_behind_it() -> None:
    ages = Ages()

    assert ages.commit_age(5, 9, now=100.0) == 0.0
    assert ages.commit_age(5, 9, now=130.0) == 30.0
    assert ages.commit_age(6, 9, now=131.0) == 0.0
    assert ages.commit_age(9, 9, now=200.0) == 0.0
    assert ages.commit_age(9, 9, now=300.0) == 0.0
    assert ages.commit_age(9, 10, now=310.0) == 10.0


def test_what_was_never_committed_ages_from_the_first_look() -> None:
    ages = Ages()

    assert ages.commit_age(None, None, now=0.0) == 0.0
    assert ages.commit_age(None, 9, now=7.0) == 7.0


def test_the_furthest_end_counts_since_logs_only_grow() -> None:
    assert furthest(3, 9) == furthest(9, 3) == 9
    assert furthest(None, 3) == 3
