from __future__ import annotations

from dataclasses import replace

import pytest

from worker.cli.views.summary import EXAMPLES, Summary, examples_of, show
from worker.flow.health import Counts, PipelineState
from worker.kafka.reader import Bounds
from worker.types import Message, TopicPartition

COUNTS = Counts(
    received=10, handled=6, filtered=1, produced=5, dead_lettered={"rejected": 3}, skipped={"x": 1}
)


def summary(counts: Counts = COUNTS, low: int = 0, *, arrived: bool = True) -> Summary:
    return Summary(
        [PipelineState("delays", "g", "stopped", counts=counts)],
        {TopicPartition("flights", n): Bounds(low, 5) for n in range(2)},
        examples_of([letter("rejected", 0)]),
        2.0,
        arrived=arrived,
        keeps_all=False,
    )


def letter(reason: str, offset: int) -> Message:
    headers = [("user", b"x"), ("dlq.reason", reason.encode()), ("dlq.error", b"a\x1b[2Jb")]
    return Message.of(b"", topic="flights.dlq", offset=offset, headers=headers)


def test_a_run_is_good_when_in_is_handled_and_dead_lettered_and_skipped() -> None:
    assert summary().is_good()
    assert not summary(Counts(received=10, handled=9)).is_good()


def test_a_message_that_was_moved_to_retry_topics_is_one_message() -> None:
    moved_twice = Counts(received=12, handled=9, dead_lettered={"timeout": 1}, moved=2)

    found = summary(moved_twice)

    assert found.is_good()
    assert found.read(found.pipelines[0]) == 10
    assert not summary(replace(moved_twice, handled=8)).is_good()


def test_a_run_that_was_cut_off_counts_what_it_has_read() -> None:
    found = summary(Counts(received=3, moved=3), arrived=False)

    assert found.read(found.pipelines[0]) == 3


def test_a_run_is_not_good_when_the_broker_has_dropped_records() -> None:
    found = summary(low=3)

    assert found.dropped() == {"flights": 6}
    assert not found.is_good()


def test_a_run_that_was_cut_off_is_not_accounted_for() -> None:
    assert summary(Counts(received=10), arrived=False).unaccounted() == {}


def test_the_summary_has_the_figures_and_no_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show(summary())

    out = capsys.readouterr().out
    assert "\x1b" not in out
    for text in (
        "3 (rejected 3)",
        "dlq.reason=rejected dlq.error=a\\x1b[2Jb",
        "10 messages in 2.0 s, 5 messages/s",
        "every message is accounted for",
        "the embedded broker has dropped nothing",
    ):
        assert text in out
    assert ["flights", "10"] in [line.split() for line in out.splitlines()]
    assert "user=" not in out


def test_the_summary_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    show(summary(Counts(received=10, handled=9), low=1))

    out = capsys.readouterr().out
    assert "delays: of 1 message it is not known what became of them" in out
    assert "flights: the embedded broker has dropped 2 records" in out


def test_a_run_in_which_a_pipeline_has_failed_does_not_say_that_all_is_accounted_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failed = PipelineState("alerts", "g", "failed", failed="a pill")

    show(replace(summary(), pipelines=[failed]))

    out = capsys.readouterr().out
    assert "alerts: failed: a pill" in out
    assert "accounted for" not in out


def test_without_a_standard_output_nothing_is_shown_and_nothing_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdout", None)

    show(summary())


def test_a_few_dead_letters_of_each_reason_are_kept() -> None:
    found = examples_of([letter(reason, n) for n in range(9) for reason in ("rejected", "timeout")])

    assert {key: len(letters) for key, letters in found.items()} == {
        ("flights.dlq", "rejected"): EXAMPLES,
        ("flights.dlq", "timeout"): EXAMPLES,
    }
