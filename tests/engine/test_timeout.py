"""Handlers that take longer than their pipeline allows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.engine.rig import Rig
from worker.engine.exactly import MARGIN
from worker.engine.execute import Executor
from worker.engine.job import Clients
from worker.engine.partition import Partition, Run
from worker.engine.pipeline import PipelineLoop, longest, overrunning, patience_of
from worker.engine.threads import ThreadPool, Watch
from worker.flow.health import STALLED_AFTER, Overrunning
from worker.flow.lanes import OneLane
from worker.ports import Clock, Observer
from worker.settings import Pipeline
from worker.types import Encoded, Failed, Failure, Outcome, StoredMessage, TopicPartition

SOON = 0.05
PATIENCE = 20.0
TOO_LATE = Failure("timeout", "", "longer than timeout: 0.05s", harmless=True)


def run_of(number: int, first: int = 0, topic: str = "source") -> Run:
    partition = Partition(TopicPartition(topic, 3), first, None, OneLane())
    messages = [StoredMessage(topic, 3, n, value=b"%d" % n) for n in range(first, first + number)]
    return Run(partition, list(messages))


def outcomes_of(
    function: Callable[..., Awaitable[Any]], number: int = 1, batch: int | None = None
) -> list[Outcome]:
    """What becomes of messages of an async handler with little time."""
    rig = Rig(function, {"dead_letter": "dlq", "timeout": SOON}, batch=batch)
    return asyncio.run(rig.executor.execute_async(run_of(number)))


def test_an_async_handler_is_cancelled_when_its_time_is_over() -> None:
    cancelled = []

    async def hang(payload: int) -> int:
        try:
            if payload == 1:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(payload)
            raise
        return payload

    before, late = outcomes_of(hang, 3)

    assert cancelled == [1]
    assert isinstance(before, Encoded)
    assert late == Failed(TOO_LATE)


def test_one_that_returns_although_it_was_cancelled_has_its_result() -> None:
    async def finish(payload: int) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "finished"
        return "never"

    (outcome,) = outcomes_of(finish)

    assert isinstance(outcome, Encoded)
    assert outcome.value == b'"finished"'


def test_a_time_out_of_the_handlers_own_is_a_failure_of_the_handler() -> None:
    async def give_up(payload: int) -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    (outcome,) = outcomes_of(give_up)

    assert isinstance(outcome, Failed)
    assert (outcome.failure.reason, outcome.failure.error) == ("handler_error", "TimeoutError")


def test_a_batch_that_was_cancelled_is_given_again_one_by_one() -> None:
    async def hang(payloads: list[int]) -> list[int]:
        if 1 in payloads:
            await asyncio.Event().wait()
        return payloads

    outcomes = outcomes_of(hang, 3, batch=3)

    assert outcomes[1] == Failed(TOO_LATE)
    assert [type(outcome) for outcome in outcomes] == [Encoded, Failed, Encoded]


def test_nothing_is_laid_around_a_handler_that_has_no_limit_or_cannot_be_cancelled() -> None:
    async def without(payload: int) -> None: ...
    def sync(payload: int) -> None: ...

    def called(function: Callable[..., Any], settings: dict[str, Any]) -> Any:
        executor: Executor = Rig(function, settings).executor
        return executor._call

    assert called(without, {}) is without
    assert called(sync, {"timeout": SOON}) is sync


def test_a_run_names_the_message_that_its_handler_is_at_and_the_longest_is_first() -> None:
    late, later, fresh, waiting = run_of(3), run_of(1, 7), run_of(1), run_of(1)
    late.begun, later.begun, fresh.begun = 70.0, 10.0, 99.0
    late.found.append(Encoded("target", b""))

    found = overrunning((late, fresh, later, waiting), 100.0, 20.0)

    assert found == (Overrunning("source", 3, 7, 90.0), Overrunning("source", 3, 1, 30.0))


def test_the_longest_is_named_be_there_a_timeout_or_not_but_only_if_it_is_long() -> None:
    late, later, waiting = run_of(3), run_of(1, 7), run_of(1)
    late.begun, later.begun = 70.0, 10.0

    assert longest((late, later, waiting), 100.0, 20.0) == Overrunning("source", 3, 7, 90.0)
    assert longest((late, later, waiting), 100.0, 95.0) is None


def test_a_step_may_wait_for_handlers_and_for_a_transaction_and_its_abort() -> None:
    def patience(**settings: Any) -> float:
        return patience_of(Pipeline.model_validate({"from": "a", "handler": "b", **settings}))

    assert patience(revoke_timeout="7s") == STALLED_AFTER + 7.0
    exactly = {"delivery": "exactly_once", "transaction": {"timeout": "2m"}}
    assert patience(revoke_timeout="7s", **exactly) == STALLED_AFTER + 7.0 + 2 * (120.0 + MARGIN)


def test_a_run_that_is_handled_but_not_yet_back_is_at_no_message() -> None:
    done = run_of(1)
    done.begun = 0.0
    done.found.append(Encoded("target", b""))

    assert overrunning([done], 100.0, 20.0) == ()


@pytest.mark.parametrize("ordering", ["partition", "key", "none"])
def test_the_runs_of_a_partition_are_known_while_they_are_out(ordering: str) -> None:
    rig = Rig(lambda payload: payload, {"ordering": ordering})
    rig.send("1", "2")
    rig.pool.hold = True
    rig.step()
    (partition,) = rig.runner.partitions.values()
    out = len(partition.runs)
    rig.pool.hold = False
    rig.step()

    assert (out, len(partition.runs)) == (1, 0)
    assert rig.values() == ["1", "2"]


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_sync_handler_that_hangs_is_reported_once_and_keeps_its_result(
    released: threading.Event, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.engine.pipeline.GRACE", 0.0)
    monkeypatch.setattr("worker.engine.pipeline.PUBLISH_EVERY", 0.0)

    def hang(payload: int) -> int:
        if payload == 8:
            assert released.wait(PATIENCE)
        return payload

    rig = Rig(hang, {"timeout": SOON})
    rig.runner.close()
    rig.send("7", "8", "9")
    clients = Clients(
        lambda: rig.broker.consumer("group"),
        lambda **_: rig.broker.producer(),
        rig.limits,
        rig.log_ends,
    )
    pool = ThreadPool("pipeline", rig.executor.execute, 2, Watch())
    loop = PipelineLoop(rig.runner.job, clients, pool, Clock(), Observer())
    loop.start()

    first = until(lambda: loop.state.overrunning)[0]
    until(lambda: (now := loop.state.overrunning) and now[0].seconds > first.seconds)
    assert (first.topic, first.partition, first.offset) == ("source", 0, 1)
    assert rig.values() == [], "the lane waits"
    released.set()
    until(lambda: rig.values() == ["7", "8", "9"] and not loop.state.overrunning)
    loop.stop()
    until(lambda: loop.ended)

    warning = "pipeline: the handler takes longer than timeout: 0.05s, at source[0]@1"
    assert caplog.messages.count(warning) == 1


def until(condition: Callable[[], Any]) -> Any:
    """Wait until the condition holds, and return what it says."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.005)):
        if found := condition():
            return found
        pause.wait(0.005)
    raise AssertionError("not in time")
