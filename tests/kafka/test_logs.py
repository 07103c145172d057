"""The client's log lines are logged, repeated ones summed up."""

from __future__ import annotations

import logging
from collections.abc import Callable

from worker.kafka.logs import ClientLog
from worker.repeats import KINDS, RateLimit
from worker.testing import ManualClock

INTERVAL = 30.0


class Lines(logging.Handler):
    """A logger's lines, as they are after what a limit has held back is summed up."""

    def __init__(self, lines: int = 1) -> None:
        super().__init__()
        self.told: list[str] = []
        self.times: list[float] = []
        self.clock = ManualClock()
        self._waiting: list[tuple[float, Callable[[], None]]] = []
        self.limit = RateLimit(lines, INTERVAL, self.clock.monotonic, self._later)
        self._logger = logging.getLogger(f"tests.limited.{id(self)}")
        self._logger.propagate = False
        self._logger.addHandler(self)
        self._logger.addFilter(self.limit)

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())
        self.times.append(record.created)

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        self._waiting.append((self.clock.monotonic() + seconds, function))

    def log(self, text: str, *args: object) -> None:
        self._logger.warning(text, *args)

    def filtered(self, record: logging.LogRecord) -> None:
        record.name = self._logger.name
        self.limit.filter(record)

    def advance(self, seconds: float) -> None:
        """Let time pass, and what is due be called."""
        self.clock.advance(seconds)
        now = self.clock.monotonic()
        due = [one for one in self._waiting if one[0] <= now]
        self._waiting = [one for one in self._waiting if one[0] > now]
        for _, function in due:
            function()


def test_the_first_line_of_a_kind_is_logged_at_once_and_the_others_are_held_back() -> None:
    lines = Lines()

    for number in range(5):
        lines.log("broker %d is down", number)

    assert lines.told == ["broker 0 is down"]


def test_lines_of_different_kinds_do_not_count_together() -> None:
    lines = Lines()

    lines.log("broker is down")
    lines.log("broker is up")

    assert lines.told == ["broker is down", "broker is up"]


def test_addresses_of_objects_are_numbers() -> None:
    lines = Lines()

    for place in ("0x7f38aa12", "0x7f38bb1f"):
        lines.log("<Connection at %s> failed", place)

    assert lines.told == ["<Connection at 0x7f38aa12> failed"]


def test_what_was_held_back_is_summed_up_although_nothing_more_comes() -> None:
    lines = Lines()
    for number in range(4):
        lines.log("broker %d is down", number)

    lines.advance(INTERVAL)

    assert lines.told[1:] == ["broker 3 is down (3 like this in 30 s)"]
    lines.advance(INTERVAL)
    assert len(lines.told) == 2


def test_a_sum_has_the_time_at_which_it_is_written() -> None:
    lines = Lines()
    lines.log("broker is down")
    earlier = logging.makeLogRecord(
        {"msg": "broker is down", "levelno": logging.WARNING, "created": 0.0}
    )
    lines.filtered(earlier)

    lines.advance(INTERVAL)

    assert lines.told[1:] == ["broker is down (1 like this in 30 s)"]
    assert lines.times[-1] >= lines.times[0]


def test_an_error_that_goes_on_is_logged_once_in_an_interval_and_none_is_left_uncounted() -> None:
    lines = Lines()

    for _ in range(3):
        for number in range(10):
            lines.log("broker %d is down", number)
        lines.advance(INTERVAL)

    assert lines.told == [
        "broker 0 is down",
        "broker 9 is down (9 like this in 30 s)",
        "broker 9 is down (10 like this in 30 s)",
        "broker 9 is down (10 like this in 30 s)",
    ]


def test_after_a_quiet_interval_the_next_line_is_logged_at_once() -> None:
    lines = Lines()
    lines.log("broker is down")

    lines.advance(INTERVAL)
    lines.log("broker is down")

    assert lines.told == ["broker is down"] * 2


def test_a_percent_sign_in_a_summed_up_line_does_no_harm() -> None:
    lines = Lines()
    for _ in range(2):
        lines.log("%s", "disk 100% full")

    lines.advance(INTERVAL)

    assert lines.told[1:] == ["disk 100% full (1 like this in 30 s)"]


def test_a_storm_of_different_lines_is_bounded_as_well() -> None:
    lines = Lines()
    for number in range(2 * KINDS):
        word = "".join(chr(ord("a") + int(digit)) for digit in str(number))
        lines.log(f"{word} is down")
        lines.log(f"{word} is down")

    assert len(lines.told) == KINDS + 1
    assert len(lines._waiting) == KINDS + 1


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
