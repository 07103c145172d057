"""Messages that are followed: their spans, and what records of theirs carry."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.propagate import inject
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode

from tests.observe.followed import (
    PARENT,
    SAMPLED,
    TRACE,
    UNSAMPLED,
    Followed,
    attributes,
    context,
    parent_of,
    rig,
    seconds,
    traceparent,
)
from worker import Record, Reject, current_span
from worker.engine.partition import Partition, Run
from worker.flow.lanes import OneLane
from worker.flow.suspects import crashed
from worker.observe.spans import KEPT
from worker.types import Commit, Encoded, Headers, Message, StoredMessage, TopicPartition

SOURCE = TopicPartition("source", 0)


def same(payload: Any) -> Any:
    return payload


def carried(message: Message) -> bytes | None:
    (value,) = [value for name, value in message.headers if name == "traceparent"]
    return value


def test_a_message_is_linked_to_its_producer_in_a_trace_of_its_own() -> None:
    followed = Followed()
    pipeline = rig(followed, same)
    pipeline.broker.append("source", b"1", headers=SAMPLED)

    pipeline.step()

    span = followed.one("process source")
    (link,) = span.links
    assert span.kind is SpanKind.CONSUMER
    assert span.parent is None
    assert f"{link.context.trace_id:032x}" == TRACE != f"{context(span).trace_id:032x}"
    assert f"{link.context.span_id:016x}" == PARENT


def test_a_message_goes_on_with_the_trace_of_its_producer_where_that_is_wanted() -> None:
    followed = Followed("parent")
    pipeline = rig(followed, same)
    pipeline.broker.append("source", b"1", headers=SAMPLED)

    pipeline.step()

    span = followed.one("process source")
    assert f"{context(span).trace_id:032x}" == TRACE
    assert parent_of(span) == int(PARENT, 16)
    assert span.links == ()


@pytest.mark.parametrize("incoming", ["link", "parent"])
def test_the_result_carries_the_context_of_its_own_send_and_no_other(incoming: Any) -> None:
    followed = Followed(incoming)
    pipeline = rig(followed, same)
    pipeline.broker.append("source", b"1", headers=[*SAMPLED, ("tracestate", b"vendor=1")])

    pipeline.step()

    process, send = followed.one("process source"), followed.one("send target")
    assert send.kind is SpanKind.PRODUCER
    assert parent_of(send) == context(process).span_id
    assert send.status.status_code is StatusCode.UNSET
    (record,) = pipeline.broker.records("target")
    assert carried(record) == traceparent(send)


@pytest.mark.parametrize("handled_in", ["source", "test.pipeline.retry.0"])
def test_what_comes_of_a_linked_message_names_the_span_that_it_was_sent_in(
    handled_in: str,
) -> None:
    def handler(payload: Any, message: Message) -> Any:
        if message.topic != handled_in:
            raise ValueError
        return payload

    followed = Followed()
    settings = {"dead_letter": "dlq", "retry": {"attempts": 1, "topics": ["1s"]}}
    pipeline = rig(followed, handler, settings)
    pipeline.broker.append("source", b"1", headers=SAMPLED)

    for _ in range(3):
        pipeline.step()
        pipeline.clock.advance(2.0)

    (record,) = pipeline.broker.records("target")
    assert ("tracestate", f"stream-worker={TRACE}-{PARENT}".encode()) in record.headers


def test_the_state_of_a_vendor_goes_on_with_the_trace() -> None:
    followed = Followed("parent")
    pipeline = rig(followed, same)
    pipeline.broker.append("source", b"1", headers=[*SAMPLED, ("tracestate", b"vendor=1")])

    pipeline.step()

    (record,) = pipeline.broker.records("target")
    assert ("tracestate", b"vendor=1") in record.headers


def test_what_its_producer_has_not_sampled_has_no_span_and_passes_its_context_on() -> None:
    followed = Followed()
    pipeline = rig(followed, same)
    pipeline.broker.append("source", b"1", headers=UNSAMPLED)

    pipeline.step()

    assert followed.spans == []
    (record,) = pipeline.broker.records("target")
    assert record.headers == UNSAMPLED


def test_of_messages_handled_together_only_those_that_are_sampled_have_spans() -> None:
    followed = Followed()
    pipeline = rig(followed, same)
    for number in range(6):
        headers = (SAMPLED, UNSAMPLED, [])[number % 3]
        pipeline.broker.append("source", b"%d" % number, headers=headers)

    pipeline.step()

    assert pipeline.values() == ["0", "1", "2", "3", "4", "5"]
    offsets = [attributes(span)["kafka.offset"] for span in followed.named("process source")]
    assert offsets == [0, 3]
    sends = [traceparent(span) for span in followed.named("send target")]
    assert [
        dict(record.headers).get("traceparent") for record in pipeline.broker.records("target")
    ] == [
        sends[0],
        UNSAMPLED[0][1],
        None,
        sends[1],
        UNSAMPLED[0][1],
        None,
    ]


@pytest.mark.parametrize("headers", [[], [("traceparent", b"nonsense")], [("other", b"x")]])
def test_without_a_context_the_sampler_of_the_process_decides(headers: Any) -> None:
    none, all_of_them = Followed(), Followed(sampler=ParentBased(ALWAYS_ON))
    for followed in (none, all_of_them):
        pipeline = rig(followed, same)
        pipeline.broker.append("source", b"1", headers=headers)
        pipeline.step()

    assert none.spans == []
    assert [span.name for span in all_of_them.spans][:1] == ["process source"]
    assert all_of_them.one("process source").links == ()


def test_a_sampler_that_minds_no_parent_is_asked_about_each_message() -> None:
    followed = Followed(sampler=TraceIdRatioBased(0.0))
    pipeline = rig(followed, same)
    pipeline.broker.append("source", b"1", headers=SAMPLED)

    pipeline.step()

    assert followed.spans == []
    (record,) = pipeline.broker.records("target")
    assert int((carried(record) or b"")[-2:], 16) & 1 == 0


def test_a_span_says_where_its_message_lies_by_current_names_and_by_older_ones() -> None:
    followed = Followed()
    pipeline = rig(followed, same)
    pipeline.broker.append("source", b"1", headers=SAMPLED)

    pipeline.step()

    assert attributes(followed.one("process source")) == {
        "messaging.system.name": "kafka",
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "source",
        "messaging.destination.partition.id": "0",
        "messaging.kafka.destination.partition": "0",
        "messaging.consumer.group.name": "test.pipeline",
        "messaging.kafka.consumer.group": "test.pipeline",
        "messaging.client.id": "client",
        "kafka.offset": 0,
        "messaging.kafka.offset": 0,
        "messaging.kafka.message.offset": 0,
        "server.address": "broker",
        "server.port": 9092,
        "worker.pipeline": "pipeline",
        "worker.handler": "handler",
    }


@pytest.mark.parametrize(("opt_in", "older"), [("messaging", False), ("http,messaging/dup", True)])
def test_older_names_are_written_unless_only_current_ones_are_wanted(
    monkeypatch: pytest.MonkeyPatch, opt_in: str, *, older: bool
) -> None:
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", opt_in)
    followed = Followed()
    pipeline = rig(followed, same)
    pipeline.broker.append("source", b"1", headers=SAMPLED)

    pipeline.step()

    found = attributes(followed.one("process source"))
    assert ("messaging.system" in found) is older
    assert found["messaging.system.name"] == "kafka"


def test_the_current_span_in_a_handler_is_that_of_its_message() -> None:
    def handler(payload: int) -> int:
        current_span().set_attribute("payload", payload)
        with trace.get_tracer("user", tracer_provider=followed.provider).start_as_current_span(
            "own"
        ):
            pass
        return payload

    followed = Followed()
    pipeline = rig(followed, handler)
    pipeline.broker.append("source", b"1", headers=SAMPLED)
    pipeline.broker.append("source", b"2", headers=UNSAMPLED)

    pipeline.step()

    span = followed.one("process source")
    assert attributes(span)["payload"] == 1
    own = followed.named("own")
    assert parent_of(own[0]) == context(span).span_id
    assert not trace.get_current_span().get_span_context().is_valid


def own(followed: Followed) -> Any:
    tracer = trace.get_tracer("user", tracer_provider=followed.provider)
    return tracer.start_as_current_span("own")


def handled(followed: Followed, handler: Any, batch: int | None, *headers: Headers) -> None:
    """Have a run of messages with these headers handled, and nothing else."""
    executor = rig(followed, handler, batch=batch).executor
    messages = [
        StoredMessage("source", 0, n, value=b"1", headers=one) for n, one in enumerate(headers)
    ]
    run = Run(Partition(SOURCE, 0, None, OneLane()), list(messages))
    if executor.handler.is_async:
        asyncio.run(executor.execute_async(run))
    else:
        executor.execute(run)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("batch", [None, 10])
def test_what_handlers_begin_for_messages_that_are_not_followed_is_not_recorded(
    batch: int | None, *, is_async: bool
) -> None:
    def handler(payload: Any) -> Any:
        with own(followed):
            return payload

    async def handler_async(payload: Any) -> Any:
        await asyncio.sleep(0)
        return handler(payload)

    followed = Followed(sampler=ParentBased(ALWAYS_ON))
    one = handler_async if is_async else handler
    handled(followed, one, batch, UNSAMPLED, UNSAMPLED)
    assert followed.spans == []

    handled(followed, one, batch, UNSAMPLED, SAMPLED, UNSAMPLED)

    process = followed.one("process source")
    assert parent_of(followed.one("own")) == context(process).span_id
    assert not trace.get_current_span().get_span_context().is_valid


def test_what_handlers_begin_for_messages_beyond_the_limit_is_not_recorded() -> None:
    def handler(payload: Any) -> Any:
        with own(followed):
            return payload

    followed = Followed(sampler=ParentBased(ALWAYS_ON), limit=1e-6)

    handled(followed, handler, None, *[SAMPLED] * 20)

    assert len(followed.named("process source")) == len(followed.named("own")) == 1


def test_a_sampler_that_minds_no_parent_decides_on_what_handlers_begin() -> None:
    def handler(payload: Any) -> Any:
        with own(followed):
            return payload

    followed = Followed(sampler=ALWAYS_ON, limit=1e-6)

    handled(followed, handler, None, *[UNSAMPLED] * 20)

    assert len(followed.named("process source")) == 1
    assert len(followed.named("own")) == 20


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize("headers", [UNSAMPLED, [], SAMPLED])
def test_a_result_that_is_given_the_context_of_a_message_that_is_not_followed_keeps_its_own(
    headers: Headers, *, begins: bool
) -> None:
    def handler(payload: Any) -> Record:
        carrier: dict[str, str] = {}
        with own(followed) if begins else nullcontext():
            inject(carrier)
        return Record(payload, headers=[*carrier.items(), ("kept", b"x")])

    followed = Followed()
    followed.limit = 1e-6
    pipeline = rig(followed, handler)
    pipeline.broker.append("source", b"0", headers=SAMPLED)
    pipeline.step()
    pipeline.broker.append("source", b"1", headers=headers)
    pipeline.step()

    _, record = pipeline.broker.records("target")
    assert sorted(record.headers) == sorted([("kept", b"x"), *headers])


def test_a_result_with_a_context_of_the_handler_is_sent_as_a_child_of_that() -> None:
    def handler(payload: int) -> Record:
        tracer = trace.get_tracer("user", tracer_provider=followed.provider)
        with tracer.start_as_current_span("own") as span:
            found = span.get_span_context()
        parent = f"00-{found.trace_id:032x}-{found.span_id:016x}-01"
        return Record(payload, headers=[("traceparent", parent), ("kept", b"x")])

    followed = Followed()
    pipeline = rig(followed, handler)
    pipeline.broker.append("source", b"1", headers=SAMPLED)

    pipeline.step()

    assert parent_of(followed.one("send target")) == context(followed.one("own")).span_id
    (record,) = pipeline.broker.records("target")
    assert carried(record) == traceparent(followed.one("send target"))
    assert ("kept", b"x") in record.headers


OTHER = "0af7651916cd43dd8448eb211c80319c"
GIVEN = ("traceparent", f"00-{OTHER}-b7ad6b7169203331-01")


@pytest.mark.parametrize(
    "given",
    [[GIVEN], [("traceparent", "zz"), GIVEN], [SAMPLED[0], GIVEN], [GIVEN, ("tracestate", "v=1")]],
    ids=["one", "behind one that is none", "the last of two", "with a state"],
)
def test_a_result_with_a_context_from_elsewhere_is_sent_as_a_child_of_that(given: Any) -> None:
    def handler(payload: int) -> Record:
        return Record(payload, headers=[*given, ("kept", b"x")])

    followed = Followed()
    pipeline = rig(followed, handler)
    pipeline.broker.append("source", b"1", headers=SAMPLED)

    pipeline.step()

    send = followed.one("send target")
    assert f"{context(send).trace_id:032x}" == OTHER
    assert parent_of(send) == 0xB7AD6B7169203331
    (record,) = pipeline.broker.records("target")
    assert carried(record) == traceparent(send)
    names = [name for name, _ in record.headers]
    assert sorted(names) == sorted({"kept", *(name for name, _ in given)})


def test_a_result_with_a_context_that_is_none_is_sent_in_that_of_its_message() -> None:
    def handler(payload: int) -> Record:
        return Record(payload, headers=[("traceparent", "zz"), ("tracestate", "v=1")])

    followed = Followed()
    pipeline = rig(followed, handler)
    pipeline.broker.append("source", b"1", headers=SAMPLED)

    pipeline.step()

    send = followed.one("send target")
    assert parent_of(send) == context(followed.one("process source")).span_id
    (record,) = pipeline.broker.records("target")
    assert carried(record) == traceparent(send)
    assert ("tracestate", f"stream-worker={TRACE}-{PARENT}".encode()) in record.headers


def test_a_result_with_a_context_that_is_not_sampled_goes_with_it_once_and_has_no_span() -> None:
    def handler(payload: int) -> Record:
        return Record(payload, headers=[*SAMPLED, *UNSAMPLED])

    followed = Followed()
    pipeline = rig(followed, handler)
    pipeline.broker.append("source", b"1", headers=SAMPLED)

    pipeline.step()

    assert followed.named("send target") == []
    (record,) = pipeline.broker.records("target")
    assert record.headers == UNSAMPLED


def test_a_failure_is_told_by_its_class_and_never_by_its_text() -> None:
    def handler(payload: int) -> None:
        raise ValueError(f"secret {payload}")

    followed = Followed()
    pipeline = rig(followed, handler, {"dead_letter": "dlq"})
    pipeline.broker.append("source", b"1", headers=SAMPLED)

    pipeline.step()

    span = followed.one("process source")
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "ValueError"
    assert attributes(span)["worker.reason"] == "handler_error"
    assert "secret" not in span.to_json()


def test_a_dead_letter_carries_the_trace_of_the_attempt_that_failed() -> None:
    def handler(payload: int) -> None:
        raise Reject("no")

    followed = Followed()
    pipeline = rig(followed, handler, {"dead_letter": "dlq"})
    pipeline.broker.append("source", b"1", headers=SAMPLED)

    pipeline.step()

    send = followed.one("send dlq")
    assert parent_of(send) == context(followed.one("process source")).span_id
    (letter,) = pipeline.broker.records("dlq")
    assert carried(letter) == traceparent(send)


def test_a_dead_letter_of_a_message_that_is_not_followed_keeps_its_context() -> None:
    def handler(payload: int) -> None:
        raise Reject("no")

    followed = Followed()
    pipeline = rig(followed, handler, {"dead_letter": "dlq"})
    pipeline.broker.append("source", b"1", headers=UNSAMPLED)

    pipeline.step()

    assert followed.spans == []
    (letter,) = pipeline.broker.records("dlq")
    assert carried(letter) == UNSAMPLED[0][1]


def test_one_trace_shows_attempts_retry_topic_dead_letter_and_redrive() -> None:
    def handler(payload: int) -> int:
        if not mended:
            raise ValueError
        return payload

    mended: list[bool] = []
    followed = Followed()
    settings = {
        "dead_letter": "dlq",
        "retry": {"attempts": 2, "topics": ["1m"], "keep_order": False},
    }
    pipeline = rig(followed, handler, settings)
    pipeline.broker.append("source", b"1", headers=SAMPLED)

    for _ in range(3):
        pipeline.step()
        pipeline.clock.advance(60)
    (letter,) = pipeline.broker.records("dlq")
    mended.append(True)
    redriven = [*letter.headers, ("dlq.redrives", b"1")]
    pipeline.broker.append("source", letter.value, headers=redriven)
    pipeline.step()

    way = [
        "process source",
        "process source",
        "send test.pipeline.retry.0",
        "process test.pipeline.retry.0",
        "send dlq",
        "process source",
        "send target",
    ]
    spans = {context(span).span_id: span for span in followed.spans}
    (last,) = followed.named("send target")
    found = [last]
    while found[-1].parent is not None:
        found.append(spans[found[-1].parent.span_id])
    assert [span.name for span in reversed(found)] == way
    assert len({context(span).trace_id for span in found}) == 1


def test_a_message_that_only_follows_its_lane_is_linked_to_its_producer_where_it_is_handled() -> (
    None
):
    def handler(payload: int, message: Message) -> int:
        if message.topic == "source" and payload == 1:
            raise ValueError
        return payload

    followed = Followed()
    settings = {"ordering": "key", "dead_letter": "dlq"}
    settings |= {"retry": {"attempts": 1, "topics": ["1s"]}}  # type: ignore[dict-item]
    pipeline = rig(followed, handler, settings)
    for payload in (b"1", b"2"):
        pipeline.broker.append("source", payload, b"key", headers=SAMPLED)

    for _ in range(4):
        pipeline.step()
        pipeline.clock.advance(2.0)

    first, follower = followed.named("process test.pipeline.retry.0")
    assert parent_of(first) == context(followed.one("send test.pipeline.retry.0")).span_id
    assert follower.parent is None
    (link,) = follower.links
    assert f"{link.context.span_id:016x}" == PARENT


def test_a_dead_letter_has_nothing_of_a_context_that_is_not_its_own() -> None:
    def handler(payload: int) -> None:
        raise Reject("no")

    followed = Followed(sampler=ALWAYS_ON)
    pipeline = rig(followed, handler, {"dead_letter": "dlq"})
    stray = [("traceparent", b"zz"), ("tracestate", b"z=1")]
    pipeline.broker.append("source", b"1", headers=stray)

    pipeline.step()

    (letter,) = pipeline.broker.records("dlq")
    assert carried(letter) == traceparent(followed.one("send dlq"))
    assert "tracestate" not in dict(letter.headers)


@pytest.mark.parametrize("took", [None, 2.5])
def test_a_message_whose_process_has_ended_has_a_span_of_that_length_that_says_so(
    took: float | None,
) -> None:
    followed = Followed()
    raw = StoredMessage("source", offset=7, value=b"1", headers=SAMPLED)

    contexts = followed.watching().observer.unwatched(raw, replace(crashed(-9), took=took))

    span = followed.one("process source")
    assert attributes(span)["error.type"] == "crash"
    assert seconds(span) == pytest.approx(took or 0.0, abs=0.5)
    assert dict(contexts[7])["traceparent"] == traceparent(span)


def test_whether_a_message_is_followed_is_not_decided_again_when_it_has_failed() -> None:
    def failing(payload: int) -> None:
        raise Reject("no")

    followed = Followed(sampler=ParentBased(TraceIdRatioBased(0.5)), limit=1e6)
    pipeline = rig(followed, failing, {"dead_letter": "dlq"})
    for _ in range(1_000):
        pipeline.broker.append("source", b"1")

    while len(pipeline.broker.records("dlq")) < 1_000:
        pipeline.step()

    assert len(followed.named("process source")) < 630, "8 standard deviations above"


def batch(payloads: list[Any]) -> list[Any]:
    return payloads


def test_a_batch_has_one_span_with_links_to_all_its_messages() -> None:
    followed = Followed()
    pipeline = rig(followed, batch, batch=10)
    for number, headers in enumerate([UNSAMPLED, SAMPLED, [], UNSAMPLED]):
        pipeline.broker.append("source", b"%d" % number, headers=headers)

    pipeline.step()

    span = followed.one("process source")
    assert span.parent is None
    assert len(span.links) == 3
    assert attributes(span)["messaging.batch.message_count"] == 4
    send = followed.one("send target")
    found = [
        dict(record.headers).get("traceparent") for record in pipeline.broker.records("target")
    ]
    assert found == [UNSAMPLED[0][1], traceparent(send), None, UNSAMPLED[0][1]]


def sent_in(span: str) -> list[Any]:
    """Headers of a message that a producer has sent in a span, with a state of its own."""
    return [("traceparent", f"00-{TRACE}-{span}-01".encode()), ("tracestate", b"z=1")]


@pytest.mark.parametrize("incoming", ["link", "parent"])
def test_what_comes_of_messages_of_a_batch_names_the_span_that_each_was_sent_in(
    incoming: Any,
) -> None:
    def handler(payloads: list[int], messages: list[Message]) -> list[Any]:
        in_retry = all(one.topic == "test.pipeline.retry.0" for one in messages)
        return [one if one and in_retry else ValueError() for one in payloads]

    followed = Followed(incoming)
    settings = {
        "dead_letter": "dlq",
        "retry": {"attempts": 1, "topics": ["1s"], "keep_order": False},
    }
    pipeline = rig(followed, handler, settings, batch=10)
    spans = [f"{number:016x}" for number in (1, 2, 3)]
    for number, span in enumerate(spans):
        pipeline.broker.append("source", b"%d" % number, headers=sent_in(span))

    for _ in range(3):
        pipeline.step()
        pipeline.clock.advance(2.0)

    retried = pipeline.broker.records("test.pipeline.retry.0")
    results, letters = pipeline.broker.records("target"), pipeline.broker.records("dlq")
    assert len(followed.named("process source")) == 1
    assert len(followed.named("process test.pipeline.retry.0")) == 1
    states = [
        [value for name, value in record.headers if name == "tracestate"]
        for record in (*retried, *letters, *results)
    ]
    named = [[f"stream-worker={TRACE}-{span}".encode()] for span in spans]
    assert states == [*named, *named]


def test_a_batch_without_a_sampled_message_has_no_span() -> None:
    followed = Followed()
    pipeline = rig(followed, batch, batch=10)
    pipeline.broker.append("source", b"1", headers=UNSAMPLED)

    pipeline.step()

    assert followed.spans == []


def test_a_batch_of_one_message_goes_on_with_its_trace_where_that_is_wanted() -> None:
    followed = Followed("parent")
    pipeline = rig(followed, batch, batch=10)
    pipeline.broker.append("source", b"1", headers=SAMPLED)

    pipeline.step()

    assert parent_of(followed.one("process source")) == int(PARENT, 16)


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_polls_and_commits_have_spans_where_something_sampled_is_in_them(delivery: str) -> None:
    followed = Followed()
    pipeline = rig(followed, same, {"delivery": delivery})
    pipeline.broker.append("source", b"1", headers=UNSAMPLED)
    watch = pipeline.clock

    def go() -> None:
        for _ in range(4):
            pipeline.runner.step()
        watch.advance(2.0)
        for _ in range(3):
            pipeline.runner.step()

    go()
    assert followed.spans == []

    pipeline.broker.append("source", b"2", headers=SAMPLED)
    go()

    poll, commit = followed.one("poll source"), followed.one("commit source")
    assert poll.kind is commit.kind is SpanKind.CLIENT
    assert f"{poll.links[0].context.span_id:016x}" == PARENT
    assert commit.links[0].context.span_id == context(followed.one("process source")).span_id
    assert attributes(poll)["messaging.operation.type"] == "receive"
    assert attributes(commit)["messaging.operation.type"] == "settle"
    go()
    assert len(followed.named("commit source")) == 1


def test_a_send_that_is_never_acknowledged_is_told_as_failed() -> None:
    followed = Followed()
    observer = followed.watching().observer
    observer.remember(SOURCE, {0: SAMPLED})

    observer.sending([Encoded("target", b"1", headers=SAMPLED)])

    span = followed.one("send target")
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "not_stored"


def test_a_send_ends_when_the_record_is_stored() -> None:
    followed = Followed()
    observer = followed.watching().observer
    observer.remember(SOURCE, {0: SAMPLED})
    sends = observer.sending([Encoded("target", b"1", headers=SAMPLED)])
    assert sends is not None
    assert followed.spans == []

    sends.stored()

    assert followed.one("send target").status.status_code is StatusCode.UNSET


def test_results_of_a_batch_belong_to_its_span_where_their_messages_are_followed() -> None:
    def records(payloads: list[Any]) -> list[Record]:
        return list(map(Record, payloads))

    followed = Followed()
    pipeline = rig(followed, records, batch=10)
    for number, headers in enumerate([UNSAMPLED, SAMPLED, []]):
        pipeline.broker.append("source", b"%d" % number, headers=headers)

    pipeline.step()

    found = [
        dict(record.headers).get("traceparent") for record in pipeline.broker.records("target")
    ]
    assert found == [UNSAMPLED[0][1], traceparent(followed.one("send target")), None]


def test_a_batch_in_which_a_message_fails_says_so() -> None:
    def failing(payloads: list[Any]) -> list[Any]:
        return [ValueError() if payload == 1 else payload for payload in payloads]

    followed = Followed()
    pipeline = rig(followed, failing, {"dead_letter": "dlq"}, batch=10)
    for number in range(2):
        pipeline.broker.append("source", b"%d" % number, headers=SAMPLED)

    pipeline.step()

    assert attributes(followed.one("process source"))["error.type"] == "ValueError"
    assert parent_of(followed.one("send dlq")) == context(followed.one("process source")).span_id


def test_of_the_links_of_a_batch_those_to_sampled_messages_are_kept_first() -> None:
    followed = Followed(links=1)
    pipeline = rig(followed, batch, batch=10)
    other = [("traceparent", f"00-{TRACE}-{'c' * 16}-00".encode())]
    for headers in (other, SAMPLED, other):
        pipeline.broker.append("source", b"1", headers=headers)

    pipeline.step()

    (link,) = followed.one("process source").links
    assert f"{link.context.span_id:016x}" == PARENT


def test_what_is_handled_beside_each_other_is_committed_together() -> None:
    followed = Followed()
    pipeline = rig(followed, same, {"ordering": "key"})
    pipeline.pool.size = 10
    for key in (b"a", b"b"):
        pipeline.broker.append("source", b"1", key, headers=SAMPLED)

    pipeline.step()

    processed = {context(span).span_id for span in followed.named("process source")}
    commit = followed.one("commit source")
    assert {link.context.span_id for link in commit.links} == processed
    assert len(processed) == 2


def test_a_commit_of_a_batch_has_one_link_to_its_span() -> None:
    followed = Followed()
    pipeline = rig(followed, batch, batch=10)
    for number in range(3):
        pipeline.broker.append("source", b"%d" % number, headers=SAMPLED)

    pipeline.step()

    (link,) = followed.one("commit source").links
    assert link.context.span_id == context(followed.one("process source")).span_id


def committed(observer: Any, offset: int) -> int:
    """How many spans a commit has."""
    return len(observer.committing({SOURCE: Commit(offset)}))


def test_a_message_belongs_to_the_first_commit_behind_it_and_to_no_other() -> None:
    observer = Followed().watching().observer
    raw = StoredMessage("source", 0, 5, headers=SAMPLED)
    observer.remember(SOURCE, {5: SAMPLED})
    observer.tried_again(raw)

    assert committed(observer, 5) == 0
    assert observer.remembered(SOURCE, [raw]) == {5: SAMPLED}
    assert committed(observer, 6) == 1
    assert observer.remembered(SOURCE, [raw]) == {}
    assert committed(observer, 7) == 0


def test_of_messages_that_are_never_committed_not_all_are_remembered() -> None:
    observer = Followed().watching().observer

    for offset in range(2 * KEPT):
        observer.remember(SOURCE, {offset: SAMPLED})

    assert list(observer.headers_moved(StoredMessage("source", 0, 0))) == []
    assert observer.headers_moved(StoredMessage("source", 0, 2 * KEPT - 1)) == SAMPLED


@pytest.mark.parametrize("batch_size", [None, 10])
def test_beyond_the_limit_messages_are_not_followed_and_pass_their_context_on(
    batch_size: int | None,
) -> None:
    followed = Followed(limit=1e-6)
    handler = same if batch_size is None else batch
    pipeline = rig(followed, handler, batch=batch_size)
    pipeline.broker.append("source", b"0", headers=SAMPLED)
    pipeline.step()
    for number in range(1, 20):
        pipeline.broker.append("source", b"%d" % number, headers=SAMPLED)
        pipeline.step(2)

    assert len(followed.named("process source")) == 1
    first, *others = pipeline.broker.records("target")
    assert carried(first) == traceparent(followed.one("send target"))
    assert [carried(record) for record in others] == [SAMPLED[0][1]] * 19


def test_what_has_failed_while_it_was_followed_is_followed_beyond_the_limit() -> None:
    def handler(payload: int) -> int:
        attempts.append(payload)
        if len(attempts) < 3:
            raise ValueError
        return payload

    attempts: list[int] = []
    followed = Followed(limit=1e-6)
    pipeline = rig(followed, handler, {"retry": {"attempts": 3}})
    pipeline.broker.append("source", b"0", headers=SAMPLED)
    for _ in range(4):
        pipeline.step()

    assert len(followed.named("process source")) == 3
