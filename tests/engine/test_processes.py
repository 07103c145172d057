"""Handlers in processes of their own, which may end at any moment."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.engine import steps
from tests.observe.followed import (
    FACTS,
    SAMPLED,
    Followed,
    attributes,
    context,
    parent_of,
    seconds,
)
from worker.app.execution import Recipe
from worker.app.options import nothing
from worker.engine.ends import LogEnds
from worker.engine.execute import TIMED
from worker.engine.job import Clients, Job
from worker.engine.pipeline import PipelineLoop
from worker.engine.processes import LONGEST, ProcessPool
from worker.engine.topics import KnownTopics
from worker.flow.lanes import LANES
from worker.observe.tracing import TraceContext, Watching
from worker.ports import Clock
from worker.settings import Pipeline
from worker.testing import ManualClock, MemoryBroker
from worker.types import Headers, TopicInfo

PATIENCE = 60.0
LIMIT = 10_000
UNWATCHED = Watching(TraceContext())


class Running:
    """A pipeline with a process pool on the memory broker, which ends with the `with` block."""

    def __init__(
        self,
        handler: str,
        *values: Any,
        module: str = "tests.engine.risky",
        batch: int | None = None,
        headers: Headers = (),
        watching: Watching = UNWATCHED,
        **settings: Any,
    ) -> None:
        self.broker = MemoryBroker(ManualClock())
        self.known = {name: TopicInfo(1, LIMIT) for name in ("source", "target", "dlq", "wide")}
        for topic in self.known:
            self.broker.create(topic, 3 if topic == "wide" else 1)
        self.headers = headers
        self.send(*values)
        pipeline = Pipeline.model_validate(
            {
                "from": "source",
                "to": "target",
                "handler": handler,
                "dead_letter": {"default": "dlq", "message": True},
                "pool": "process",
                "concurrency": 1,
                **settings,
            }
        )
        topics = KnownTopics(lambda names: {name: self.known[name] for name in names}, Clock())
        topics.take(self.known)
        self.pool = ProcessPool(
            "pipeline",
            Recipe((module,), (), pipeline, FACTS, "test", nothing),
            topics,
            pipeline.concurrency or 1,
            batch=batch,
            retry=pipeline.retry,
            timeout=pipeline.timeout,
            breaker=pipeline.breaker,
            observer=watching.observer,
        )
        clients = Clients(
            lambda: self.broker.consumer("group"),
            lambda **_: self.broker.producer(),
            topics.limits,
            LogEnds(self.broker.admin().ends, Clock()),
        )
        limit, lanes = batch or LONGEST, LANES[pipeline.ordering]
        job = Job("pipeline", "group", ["source"], handler, pipeline, limit, lanes=lanes)
        self.loop = PipelineLoop(job, clients, self.pool, Clock(), watching.observer)

    def __enter__(self) -> Self:
        self.loop.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.loop.stop()
        until(lambda: self.loop.ended)
        assert not [one for one in multiprocessing.active_children() if "pipeline" in one.name]

    def send(self, *values: Any) -> None:
        """Write values to the source, keyed by what they say of themselves."""
        for value in values:
            key = str(value["key"]).encode() if isinstance(value, dict) and "key" in value else None
            self.broker.append("source", json.dumps(value).encode(), key, headers=self.headers)

    def results(self) -> list[Any]:
        return [json.loads(message.value or b"null") for message in self.broker.records("target")]

    def letters(self) -> list[tuple[Any, str, str]]:
        """Of each dead letter the payload, the reason and the text."""
        found = []
        for message in self.broker.records("dlq"):
            headers = {name: (value or b"").decode() for name, value in message.headers}
            payload = json.loads(message.value or b"null")
            found.append((payload, headers["dlq.reason"], headers.get("dlq.message", "")))
        return found

    def until_through(self, number: int) -> None:
        """Wait until so many messages have a result or a dead letter."""
        until(lambda: len(self.results()) + len(self.letters()) >= number or self.loop.ended)

    def reason(self) -> str | None:
        """Why it has failed, once it has."""
        until(lambda: self.loop.ended)
        return self.loop.state.failed


def until(condition: Callable[[], Any]) -> None:
    """Wait until the condition holds."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("not in time")


def numbered(number: int, bad: Mapping[int, Mapping[str, Any]]) -> Sequence[dict[str, Any]]:
    """Payloads of which some ask for what goes wrong."""
    return [{"n": n, **bad.get(n, {})} for n in range(number)]


def test_messages_are_handled_in_other_processes_in_order() -> None:
    with Running("risky", *numbered(500, {})) as running:
        running.until_through(500)

    assert running.results() == list(range(500))
    assert running.loop.drained


def test_how_long_decoding_takes_is_told_by_processes_too() -> None:
    with Running("here") as running:
        for number in range(TIMED + 1):
            running.send(number)
            running.until_through(number + 1)
        until(lambda: running.loop.state.counts.stages["decode"] > 0.0)

    assert running.loop.state.counts.stages["handler"] > 0.0
    assert running.loop.state.counts.handling.count == TIMED + 1


def test_as_many_processes_handle_messages_as_are_allowed() -> None:
    with Running("here", *range(20), ordering="none", concurrency=2) as running:
        running.until_through(20)
        while len(set(running.results())) < 2:
            before = len(running.results())
            running.send(*range(20))
            running.until_through(before + 20)

    assert len(set(running.results())) == 2
    assert os.getpid() not in running.results()


@pytest.mark.parametrize(
    ("way", "how"),
    [
        ("segfault", "the process ended by signal 11 (SIGSEGV)"),
        ("kill", "the process ended by signal 9 (SIGKILL)"),
        ("exit", "the process ended with exit code 7"),
    ],
)
def test_a_message_that_ends_its_process_is_a_dead_letter_and_the_others_stay_in_order(
    way: str, how: str
) -> None:
    payloads = numbered(50, {20: {"do": way}})
    with Running("risky", *payloads) as running:
        running.until_through(50)

    assert running.letters() == [(payloads[20], "crash", how)]
    assert running.results() == [n for n in range(50) if n != 20]


def test_a_message_that_ends_its_process_has_a_span_that_says_so() -> None:
    followed = Followed()
    with Running(
        "risky", {"n": 0, "do": "kill"}, headers=SAMPLED, watching=followed.watching()
    ) as running:
        running.until_through(1)

    span = followed.one("process source")
    assert attributes(span)["error.type"] == "crash"
    assert parent_of(followed.one("send dlq")) == context(span).span_id


def test_what_took_too_long_in_a_process_is_told_with_the_time_that_it_took() -> None:
    followed = Followed()
    with Running(
        "risky",
        {"n": 0, "do": "hang"},
        headers=SAMPLED,
        watching=followed.watching(),
        timeout=0.3,
    ) as running:
        running.until_through(1)

    assert seconds(followed.one("process source")) >= 0.3
    (letter,) = running.broker.records("dlq")
    assert int(dict(letter.headers)["dlq.took"] or b"0") >= 300


def test_dead_letters_tell_where_in_the_process_it_failed_and_go_where_the_exception_says() -> None:
    target = {"default": "dlq", "by": {"OSError": "wide"}, "stack": True}
    with Running("risky", {"n": 0, "do": "fail"}, dead_letter=target) as running:
        until(lambda: running.broker.records("wide"))

    (letter,) = running.broker.records("wide")
    stack = (dict(letter.headers)["dlq.stack"] or b"").decode()
    assert 'risky.py", line ' in stack
    assert stack.endswith(', in _fail\n    raise OSError("for now")\nOSError\n')


def test_a_message_that_took_too_long_in_a_process_goes_to_the_topic_of_timeouts() -> None:
    target = {"default": "dlq", "by": {"TimeoutError": "wide", "crash": "dlq"}}
    with Running("risky", {"n": 0, "do": "hang"}, dead_letter=target, timeout=0.2) as running:
        until(lambda: running.broker.records("wide"))

    (letter,) = running.broker.records("wide")
    assert dict(letter.headers)["dlq.reason"] == b"timeout"


@pytest.fixture
def forked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where handlers note what they have forked; it is ended after the test."""
    file = tmp_path / "forked"
    monkeypatch.setenv("FORKED", str(file))
    yield file
    for number in file.read_text().split():
        os.kill(int(number), signal.SIGKILL)


def test_the_end_of_a_process_is_seen_although_a_fork_of_it_holds_its_pipes(forked: Path) -> None:
    with Running("risky", *numbered(3, {1: {"do": "fork"}})) as running:
        running.until_through(3)

    ((_, reason, text),) = running.letters()
    assert (reason, text) == ("crash", "the process ended with exit code 9")
    assert len(forked.read_text().split()) == 2


def test_a_message_that_ends_its_process_only_once_is_tried_again_and_has_its_result(
    tmp_path: Path,
) -> None:
    once = str(tmp_path / "once")
    with Running("risky", *numbered(30, {10: {"do": "kill", "once": once}})) as running:
        running.until_through(30)

    assert Path(once).exists()
    assert len(running.pool._suspects) == 0
    assert running.letters() == []
    assert running.results() == list(range(30))


RETRY = {"attempts": 2, "backoff": {"initial": 0.01}}


@pytest.mark.parametrize(("way", "limit"), [("fail", None), ("put off", None), ("hang", 0.3)])
@pytest.mark.parametrize("ordering", ["partition", "key"])
def test_a_message_that_fails_once_is_tried_again_and_its_lane_stays_in_order(
    tmp_path: Path, way: str, limit: float | None, ordering: str
) -> None:
    once = str(tmp_path / "once")
    payloads = [{**one, "key": one["n"] % 3} for one in numbered(30, {})]
    payloads[10] |= {"do": way, "once": once}
    with Running("risky", *payloads, retry=RETRY, timeout=limit, ordering=ordering) as running:
        running.until_through(30)

    assert running.loop._counts.retried == 1
    assert running.letters() == []
    results = running.results()
    assert sorted(results) == list(range(30))
    keys = 3 if ordering == "key" else 1
    lanes = [[n for n in results if n % keys == key] for key in range(keys)]
    assert all(lane == sorted(lane) for lane in lanes)


def test_one_that_ends_its_process_is_not_tried_more_often_than_without_retries() -> None:
    with Running("risky", *numbered(3, {1: {"do": "exit"}}), retry=RETRY) as running:
        running.until_through(3)

    assert [reason for _, reason, _ in running.letters()] == ["crash"]
    assert running.loop._counts.retried == 0


def test_one_that_takes_too_long_in_all_attempts_is_a_dead_letter() -> None:
    payloads = numbered(3, {1: {"do": "hang"}})
    with Running("risky", *payloads, retry=RETRY, timeout=0.3) as running:
        running.until_through(3)

    assert [reason for _, reason, _ in running.letters()] == ["timeout"]
    assert running.loop._counts.retried == 1
    assert running.results() == [0, 2]


def test_several_bad_messages_in_a_row_and_the_first_one_are_found() -> None:
    bad = {n: {"do": "exit"} for n in (0, 1, 5)}
    with Running("risky", *numbered(10, bad)) as running:
        running.until_through(10)

    assert [payload["n"] for payload, _, _ in running.letters()] == [0, 1, 5]
    assert running.results() == [2, 3, 4, 6, 7, 8, 9]


@pytest.mark.parametrize(("ordering", "concurrency"), [("key", 2), ("none", 2)])
def test_with_other_orders_each_message_has_its_result_and_keys_keep_theirs(
    ordering: str, concurrency: int
) -> None:
    payloads = [{**one, "key": one["n"] % 7} for one in numbered(200, {100: {"do": "segfault"}})]
    with Running("risky", *payloads, ordering=ordering, concurrency=concurrency) as running:
        running.until_through(200)

    results = running.results()
    assert [payload["n"] for payload, _, _ in running.letters()] == [100]
    assert sorted(results) == [n for n in range(200) if n != 100]
    if ordering == "key":
        for key in range(7):
            of_key = [n for n in results if n % 7 == key]
            assert of_key == sorted(of_key)


def test_of_a_batch_only_the_message_that_ends_the_process_alone_is_a_dead_letter() -> None:
    payloads = numbered(12, {3: {"do": "segfault"}})
    with Running("risky_batch", *payloads, batch=5) as running:
        running.until_through(12)

    assert [(payload["n"], reason) for payload, reason, _ in running.letters()] == [(3, "crash")]
    assert running.results() == [n for n in range(12) if n != 3]


@pytest.mark.parametrize(("handler", "batch"), [("risky", None), ("risky_batch", 5)])
def test_a_message_that_takes_too_long_is_a_dead_letter_and_its_process_is_ended(
    handler: str, batch: int | None
) -> None:
    payloads = numbered(12, {3: {"do": "hang"}})
    with Running(handler, *payloads, batch=batch, timeout=0.2) as running:
        running.until_through(12)

    assert running.letters() == [(payloads[3], "timeout", "longer than timeout: 0.2s")]
    assert running.results() == [n for n in range(12) if n != 3]


def test_a_message_that_takes_too_long_is_not_tried_again(tmp_path: Path) -> None:
    hangs_once = {"n": 0, "do": "hang", "once": str(tmp_path / "once")}
    with Running("risky", hangs_once, timeout=0.2) as running:
        running.until_through(1)

    assert [reason for _, reason, _ in running.letters()] == ["timeout"]


def test_the_message_that_a_process_is_at_for_long_is_named_while_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.engine.pipeline.LONG", 0.1)
    with Running("risky", *numbered(4, {2: {"do": "hang"}}), timeout=3.0) as running:
        until(lambda: running.loop.state.longest is not None)
        named = running.loop.state.longest
        running.until_through(4)
        until(lambda: running.loop.state.longest is None)

    assert named is not None
    assert (named.topic, named.partition, named.offset) == ("source", 0, 2)
    assert running.results() == [0, 1, 3]


def test_the_time_of_a_message_that_took_too_long_counts_as_that_of_its_handler() -> None:
    with Running("risky", {"n": 0, "do": "hang"}, timeout=0.2) as running:
        running.until_through(1)

    handling = running.loop.state.counts.handling
    assert handling.count == 1
    assert handling.seconds > 0.2


def test_a_process_that_is_killed_between_two_messages_is_replaced_and_no_message_blamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.flow.backoff.BACKOFF", (0.0, 0.0))
    with Running("here", 1) as running:
        running.until_through(1)
        os.kill(running.results()[0], signal.SIGKILL)
        running.send(2, 3)
        running.until_through(3)

    first, second, third = running.results()
    assert first != second == third
    assert running.letters() == []


def test_runs_that_no_process_has_begun_are_given_back() -> None:
    pool = Running("risky", concurrency=2).pool
    runs = [steps.run(number) for number in range(2)]
    for run in runs:
        pool.submit(run)
    full = pool.saturated

    assert pool.recall() == runs
    assert (full, pool.saturated, pool.outstanding) == (True, False, 0)


def test_signals_that_a_terminal_sends_to_all_processes_do_not_end_those_of_a_pool() -> None:
    with Running("risky", *numbered(3, {1: {"do": "signal"}})) as running:
        running.until_through(3)

    assert running.results() == [0, 1, 2]


def test_programs_that_handlers_start_get_signals() -> None:
    with Running("blocked", 0) as running:
        running.until_through(1)

    assert running.results() == [[]]


def test_a_stop_does_not_wait_for_a_handler_that_hangs() -> None:
    with Running("risky", {"n": 0}, {"n": 1, "do": "hang"}, drain_timeout=0.0) as running:
        running.until_through(1)

    assert running.results() == [0]
    assert not running.loop.drained


def test_processes_that_end_at_once_make_the_pipeline_fail_after_some_waits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("worker.flow.backoff.BACKOFF", (0.01, 0.01))
    with Running("risky", 1, module="tests.engine.risky_import") as running:
        until(lambda: running.loop.state.hindered == "the process ended with exit code 3")
        reason = running.reason()

    words = "its processes end before they handle anything: the process ended with exit code 3"
    assert reason == words
    waits = [text for text in caplog.messages if "another one starts in 0.01 s" in text]
    assert len(waits) == 4


@pytest.mark.parametrize(
    ("handler", "module", "words"),
    [
        ("risky", "tests.engine.nowhere", "tests.engine.nowhere: no module"),
        ("nobody", "tests.engine.risky", "no module of `handlers` has the handler 'nobody'"),
        ("with_refused", "tests.engine.risky", "could not be set up: OSError: no network"),
    ],
)
def test_what_no_process_can_be_without_makes_the_pipeline_fail_at_once(
    handler: str, module: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with Running(handler, 1, module=module) as running:
        assert words in (running.reason() or "")

    assert not [text for text in caplog.messages if "another one starts" in text]


def test_each_process_sets_resources_up_and_tears_them_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diary = tmp_path / "diary"
    monkeypatch.setenv("DIARY", str(diary))
    monkeypatch.setattr("worker.flow.backoff.BACKOFF", (0.0, 0.0))
    with Running("with_diary", 1) as running:
        running.until_through(1)
        os.kill(int(diary.read_text().split()[1]), signal.SIGKILL)
        running.send(2)
        running.until_through(2)

    (up, killed), (up_again, other), (down, last) = map(str.split, diary.read_text().splitlines())
    assert (up, up_again, down) == ("up", "up", "down")
    assert killed != other == last


def test_a_stop_while_processes_start_tears_down_what_they_set_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diary = tmp_path / "diary"
    monkeypatch.setenv("DIARY", str(diary))
    with Running("with_diary", concurrency=2):
        pass

    lines = diary.read_text().split()
    assert lines[::2].count("up") == lines[::2].count("down") == 2


def test_what_is_known_of_topics_is_known_in_the_processes_and_asked_for_when_it_changes() -> None:
    with Running("place", 0) as running:
        until(lambda: running.broker.records("wide"))
        running.known["wide"] = TopicInfo(3, LIMIT)
        running.send(2, 9)
        until(running.letters)

    assert [message.partition for message in running.broker.records("wide")] == [0, 2]
    ((_, reason, text),) = running.letters()
    assert (reason, text) == ("unencodable", "a result for partition 9 of wide, which has 3")


def test_a_result_that_its_topic_does_not_take_is_a_dead_letter() -> None:
    with Running("large", 100, LIMIT) as running:
        running.until_through(2)

    ((payload, reason, _),) = running.letters()
    assert (payload, reason) == (LIMIT, "too_large")


def test_the_trace_context_goes_from_a_message_to_its_result() -> None:
    headers: Headers = [("traceparent", b"00-1-2-01"), ("other", b"x")]
    with Running("large", 5, headers=headers) as running:
        running.until_through(1)

    (result,) = running.broker.records("target")
    assert result.headers == [("traceparent", b"00-1-2-01")]


def test_a_pipeline_says_that_its_processes_are_starting() -> None:
    with Running("risky", {"n": 0, "do": "hang"}, drain_timeout=0.0) as running:
        until(lambda: running.loop.state.hindered == "its processes are starting")
        until(lambda: running.loop.state.status == "running" and not running.loop.state.hindered)
