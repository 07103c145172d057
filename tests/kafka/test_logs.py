"""The client's log lines are logged, repeated ones summed up."""

from __future__ import annotations

import logging

from worker.kafka.logs import ClientLog, RateLimit
from worker.testing import ManualClock

CLOCK_STEP = 31.0


def line(text: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("client", logging.WARNING, "client.py", 1, text, args, None)


def test_a_few_lines_of_a_kind_pass_and_the_others_are_held_back() -> None:
    limit = RateLimit(lines=2, interval=30, monotonic=ManualClock().monotonic)

    passed = [limit.filter(line("broker %d is down", number)) for number in range(5)]

    assert passed == [True, True, False, False, False]


def test_lines_of_different_kinds_do_not_count_together() -> None:
    limit = RateLimit(lines=1, interval=30, monotonic=ManualClock().monotonic)

    assert limit.filter(line("broker is down"))
    assert limit.filter(line("broker is up"))


def test_after_the_interval_the_next_line_says_how_many_were_held_back() -> None:
    clock = ManualClock()
    limit = RateLimit(lines=1, interval=30, monotonic=clock.monotonic)
    for number in range(4):
        limit.filter(line("broker %d is down", number))

    clock.advance(CLOCK_STEP)
    record = line("broker %d is down", 9)

    assert limit.filter(record)
    assert record.getMessage() == "broker 9 is down (3 more like this in 31 s)"


def test_a_percent_sign_in_a_summed_up_line_does_no_harm() -> None:
    clock = ManualClock()
    limit = RateLimit(lines=1, interval=30, monotonic=clock.monotonic)
    for _ in range(2):
        limit.filter(line("%s", "disk 100% full"))

    clock.advance(CLOCK_STEP)
    record = line("%s", "disk 100% full")

    assert limit.filter(record)
    assert record.getMessage() == "disk 100% full (1 more like this in 31 s)"


def test_nothing_leaves_the_logger_that_a_client_is_given() -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())
            raise KeyboardInterrupt

    lines: list[str] = []
    logger = logging.getLogger("tests.failing")
    logger.addHandler(Failing())

    ClientLog(logger).log(logging.WARNING, "broker %s", "down")

    assert lines == ["broker down"]
