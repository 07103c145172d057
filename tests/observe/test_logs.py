from __future__ import annotations

import gc
import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest
from opentelemetry.trace import get_tracer

from tests.engine.rig import Rig
from tests.observe.followed import SAMPLED, TRACE, UNSAMPLED, Followed, context, rig
from worker.engine.pipeline import PipelineLoop
from worker.observe.logs import Format, JsonFormatter, TextFormatter, configure

log = logging.getLogger("worker.tests.logs")
pytestmark = pytest.mark.usefixtures("own_log")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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
def test_a_line_that_cannot_be_written_says_so_in_its_form_without_what_it_was_given(
    capsys: pytest.CaptureFixture[str], form: Format
) -> None:
    configure("info", form)

    args = ("payload",)
    record = logging.LogRecord(log.name, logging.INFO, "here.py", 7, "at %d", args, None)
    logging.getLogger().handlers[-1].handle(record)

    (line,) = written(capsys)
    assert "a line of the log cannot be written: at %d (TypeError; here.py:7)" in line
    assert "payload" not in line
    assert form == "text" or json.loads(line)["logger"] == "worker.tests.logs"


def in_a_thread() -> None:
    def work() -> None:
        raise ValueError("payload")

    thread = threading.Thread(target=work, name="of \x1b users")
    thread.start()
    thread.join()


class Failing:
    def __del__(self) -> None:
        raise ValueError("payload")


def at_the_end_of_an_object() -> None:
    Failing()
    gc.collect()


@pytest.fixture
def tolerant() -> Iterator[None]:
    """Warnings as they are without pytest."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        yield


@pytest.mark.usefixtures("tolerant")
@pytest.mark.parametrize("fail", [in_a_thread, at_the_end_of_an_object])
def test_an_exception_that_nobody_catches_is_a_line_with_its_frames_and_without_its_text(
    capsys: pytest.CaptureFixture[str], fail: Callable[[], None]
) -> None:
    configure("info", "json")

    fail()

    (line,) = written(capsys)
    entry = json.loads(line)
    assert entry["level"] == "ERROR"
    assert entry["message"].endswith(": ValueError")
    assert "test_logs.py" in entry["exception"]
    assert "ValueError: payload" not in line

    configure("debug", "json")
    fail()
    assert str(last(capsys)["exception"]).endswith("ValueError: payload")


@pytest.mark.usefixtures("tolerant")
def test_an_exception_that_ends_the_process_is_a_line_with_its_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("info", "json")
    error = ValueError("why \x1b")

    sys.excepthook(ValueError, error, None)

    assert str(last(capsys)["exception"]).endswith("ValueError: why \x1b")


@pytest.mark.usefixtures("tolerant")
def test_a_warning_is_a_line_with_its_place_and_without_its_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("info", "json")

    warnings.warn("payload", UserWarning, stacklevel=1)

    (line,) = written(capsys)
    entry = json.loads(line)
    assert entry["level"] == "WARNING"
    assert entry["message"].startswith("UserWarning (")
    assert "test_logs.py" in entry["message"]
    assert "payload" not in line

    configure("debug", "json")
    warnings.warn("old \x1b[2J password=hunter22", DeprecationWarning, stacklevel=1)
    assert last(capsys)["message"] == "DeprecationWarning: old \x1b[2J password=***"


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_in_a_message_reaches_a_terminal_as_a_command(
    capsys: pytest.CaptureFixture[str], form: Format
) -> None:
    configure("info", form)

    named = logging.getLogger("worker.\x1b\n")
    named.info("a\x1b[2Jb\nINFO forged \x9b31m \u202e \u061c", extra={"pipeline": "x\ny"})

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


SECRET = "c4n4ry-s3cr3t"


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_secret_of_the_spec_is_never_shown(
    capsys: pytest.CaptureFixture[str], form: Format
) -> None:
    configure("info", form, secrets=[SECRET])

    try:
        raise ValueError(f"refused: {SECRET}")
    except ValueError:
        log.exception("it broke with %s", SECRET, extra={"topic": SECRET})

    (*lines,) = written(capsys)
    assert SECRET not in "".join(lines)
    assert "it broke with ***" in lines[0]


def logging_handler(payload: int) -> int:
    log.info("at %d", payload)
    return payload


def test_a_line_of_a_handler_says_which_message_it_is_about(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("info", "json")
    plain = Rig(logging_handler)
    plain.executor.pipeline = "delays"
    plain.broker.append("source", b"1")
    plain.broker.append("source", b"2", headers=SAMPLED)

    plain.step()
    log.info("afterwards")

    first, second, after = [json.loads(line) for line in written(capsys) if '"worker.tests' in line]
    where = {"pipeline": "delays", "topic": "source", "partition": 0}
    assert first.items() >= {**where, "offset": 0}.items()
    assert second.items() >= {**where, "offset": 1, "trace_id": TRACE}.items()
    assert "trace_id" not in first
    assert "offset" not in after


def test_a_line_of_a_handler_says_the_span_of_its_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("info", "json")
    followed = Followed()
    pipeline = rig(followed, logging_handler)
    pipeline.broker.append("source", b"1", headers=SAMPLED)

    pipeline.step()

    (line,) = [json.loads(line) for line in written(capsys) if '"worker.tests' in line]
    span = context(followed.one("process source"))
    assert line["trace_id"] == f"{span.trace_id:032x}" != TRACE
    assert line["span_id"] == f"{span.span_id:016x}"


@pytest.mark.parametrize("begins", [True, False])
def test_a_line_of_a_handler_whose_message_is_not_followed_says_the_trace_that_it_came_with(
    capsys: pytest.CaptureFixture[str], *, begins: bool
) -> None:
    def handler(payload: int) -> int:
        tracer = get_tracer("user", tracer_provider=followed.provider)
        with tracer.start_as_current_span("own") if begins else nullcontext():
            return logging_handler(payload)

    configure("info", "json")
    followed = Followed()
    pipeline = rig(followed, handler)
    pipeline.broker.append("source", b"1", headers=UNSAMPLED)
    pipeline.broker.append("source", b"2")

    pipeline.step()

    known, unknown = [json.loads(line) for line in written(capsys) if '"worker.tests' in line]
    assert known["trace_id"] == TRACE
    assert known.keys() & {"span_id"} == set()
    assert unknown.keys() & {"trace_id", "span_id"} == set()


def test_the_last_failure_is_logged_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    def failing(payload: int) -> None:
        raise ValueError

    configure("info", "json")
    one = Rig(failing, {"dead_letter": "dlq"})
    loop = PipelineLoop(one._job, one._clients, one.pool, one.clock, one.observer)
    one.send("1", "2")

    one.step()
    loop._report_failures(one.runner)

    assert last(capsys).items() >= {"topic": "source", "partition": 0, "offset": 1}.items()


def test_a_line_that_begins_with_its_pipeline_does_not_name_it_twice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("info", "text")

    log.info("delays: it goes on", extra={"pipeline": "delays"})
    log.info("it goes on", extra={"pipeline": "delays"})

    first, second = written(capsys)
    assert first.endswith(": delays: it goes on")
    assert second.endswith(": it goes on pipeline=delays")
