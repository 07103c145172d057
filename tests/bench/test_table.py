"""Tables of attempts."""

from bench.rounds import Attempt, Failed, Subject, Unavailable, rounds
from bench.table import by_system, median_of, ratio_to
from bench.throughput import table

BARE = Subject("bare", "bare loop")
PEER = Subject("peer", "a | peer")


def attempt(subject: Subject, repeat: int, rate: float) -> Attempt:
    figures = {"rate": rate, "cpu": 1e6 / rate, "rss": 50.0, "start": 1.0, "records": 800.0}
    return Attempt(subject.name, subject.label, repeat, figures)


def test_a_table_has_medians_ranges_and_ratios_pair_by_pair() -> None:
    attempts = [
        *[attempt(BARE, repeat, rate) for repeat, rate in enumerate([100, 200, 400])],
        *[attempt(PEER, repeat, rate) for repeat, rate in enumerate([50, 100, 100])],
    ]

    last = table(attempts).splitlines()[-1]

    assert last == (
        "| a / peer | 100 (50 - 100) | 0.50 (0.25 - 0.50) "
        "| 10,000.00 (10,000.00 - 20,000.00) | 2.00 (2.00 - 4.00) | 50 | 1.0 | 800 |"
    )


def test_a_system_that_could_not_be_measured_is_in_the_table_with_the_reason() -> None:
    attempts = [Attempt("peer", "peer", 0, reason="no wheel\nfor this Python")]

    assert "| peer | not measured: no wheel for this Python | - |" in table(attempts)


def test_a_system_that_failed_once_is_told_with_what_it_did_otherwise() -> None:
    attempts = [attempt(BARE, 0, 10), Attempt("bare", "bare loop", 1, reason="died")]

    text = by_system(attempts, ["system", "rate"], lambda name: [median_of(attempts, name, "rate")])

    assert text.splitlines()[-1] == "| bare loop; 1 of 2 failed: died | 10 |"


def test_without_its_base_a_ratio_is_left_out() -> None:
    assert ratio_to([attempt(PEER, 0, 10)], "peer", "bare", "rate") == "-"


def test_every_repeat_begins_with_another_system() -> None:
    order: list[str] = []

    def measure(subject: Subject, _: int) -> dict[str, float]:
        order.append(subject.name)
        return {"rate": 1.0}

    attempts = rounds([BARE, PEER], 2, measure)

    assert order == ["bare", "peer", "peer", "bare"]
    assert [one.system for one in attempts] == ["bare", "bare", "peer", "peer"]


def test_what_cannot_be_had_is_tried_once_and_what_fails_in_every_round() -> None:
    tried: list[str] = []

    def measure(subject: Subject, _: int) -> dict[str, float]:
        tried.append(subject.name)
        raise Failed("died") if subject is BARE else Unavailable("no wheel")

    attempts = rounds([BARE, PEER], 2, measure)

    assert sorted(tried) == ["bare", "bare", "peer"]
    assert [one.reason for one in attempts] == ["died", "died", "no wheel", "no wheel"]
