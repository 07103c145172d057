from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from worker.observe.logs import Format, JsonFormatter, TextFormatter, configure

log = logging.getLogger("worker.tests.logs")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    """The root logger as it was, afterwards."""
    found = logging.getLogger()
    handlers, level = found.handlers[:], found.level
    yield
    found.handlers[:] = handlers
    found.setLevel(level)


def written(screen: pytest.CaptureFixture[str]) -> list[str]:
    return screen.readouterr().err.splitlines()


def last(screen: pytest.CaptureFixture[str]) -> dict[str, object]:
    parsed: dict[str, object] = json.loads(written(screen)[-1])
    return parsed


def test_json_has_one_object_a_line_with_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    where = {"pipeline": "delays", "topic": "flights", "partition": 3, "offset": 17, "other": 1}

    log.warning("lost %s", "it", extra=where)

    entry = last(capsys)
    time = entry.pop("time")
    assert entry == {
        "level": "WARNING",
        "logger": "worker.tests.logs",
        "message": "lost it",
        "pipeline": "delays",
        "topic": "flights",
        "partition": 3,
        "offset": 17,
    }
    assert str(time).endswith("+00:00")


@pytest.mark.parametrize(
    ("stream", "is_json"), [(io.StringIO(), True), (Terminal(), False)], ids=["file", "terminal"]
)
def test_auto_is_text_on_a_terminal_and_json_otherwise(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, *, is_json: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)

    configure("info", "auto")
    log.info("hello")

    assert stream.getvalue().startswith("{") is is_json


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_in_a_message_reaches_a_terminal_as_a_command(
    capsys: pytest.CaptureFixture[str], form: Format
) -> None:
    configure("info", form)

    log.info("a\x1b[2Jb\nINFO forged \x9b31m \u202e", extra={"pipeline": "x\ny"})

    (line,) = written(capsys)
    assert line.isprintable()
    assert "forged" in line


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_text_that_is_no_unicode_can_be_written_all_the_same(formatter: logging.Formatter) -> None:
    record = logging.LogRecord("worker", logging.INFO, "", 1, "half \ud800 a pair", None, None)

    assert formatter.format(record).encode()


def test_json_gives_the_message_back_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")

    log.info("a\x1b\nb \x9b \u202e ü")

    assert last(capsys)["message"] == "a\x1b\nb \x9b \u202e ü"


def test_the_traceback_follows_indented_so_that_it_cannot_pass_for_log_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("info", "text")

    try:
        raise ValueError("first\n12:00:00.000 INFO    worker: forged")
    except ValueError:
        log.exception("it broke")

    first, *trace = written(capsys)
    assert "ERROR" in first
    assert trace[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in trace)


def test_json_holds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")

    try:
        raise ValueError("why")
    except ValueError:
        log.exception("it broke")

    assert str(last(capsys)["exception"]).endswith("ValueError: why")


def test_the_second_configuration_replaces_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    configure("debug", "json")
    configure("warning", "text")

    log.info("not this")
    log.warning("this")

    (line,) = written(capsys)
    assert line.endswith("WARNING worker.tests.logs: this")


def test_every_line_says_its_process_where_there_are_several(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("info", "json", 3)
    log.warning("lost it")
    assert last(capsys)["process"] == 3

    configure("info", "text", 3)
    log.warning("lost it")
    assert written(capsys)[-1].endswith("WARNING [3] worker.tests.logs: lost it")
