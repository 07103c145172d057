"""Results that are one value each, whose records are made together."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.rig import Rig
from worker.flow.attempts import Tried
from worker.flow.later import retry_record
from worker.observe.tracing import TraceContext
from worker.types import Encoded, Headers, Message, Record, StoredMessage

SETTINGS = {"dead_letter": "dlq"}


def one(payload: int) -> dict[str, Any]:
    match payload:
        case 5:
            return {"n": "x" * 2_000}
        case 7:
            return {"n": object()}
        case _:
            return {"n": payload}


def batch(payloads: list[int]) -> list[dict[str, Any]]:
    return list(map(one, payloads))


@pytest.fixture(params=["one by one", "in a batch"])
def rig(request: pytest.FixtureRequest) -> Rig:
    if request.param == "in a batch":
        return Rig(batch, SETTINGS, batch=100, observer=TraceContext())
    return Rig(one, SETTINGS, observer=TraceContext())


def test_the_one_that_is_too_large_is_a_dead_letter(rig: Rig) -> None:
    rig.limits["target"] = 1_000
    rig.send("4", "5", "6")

    rig.step()

    assert rig.values() == ['{"n":4}', '{"n":6}']
    assert rig.values("dlq") == ["5"]
    assert rig.counts.dead_lettered == {"too_large": 1}


def test_the_one_that_cannot_be_encoded_is_a_dead_letter(rig: Rig) -> None:
    rig.send("6", "7", "8")

    rig.step()

    assert rig.values() == ['{"n":6}', '{"n":8}']
    assert rig.counts.dead_lettered == {"unencodable": 1}


def test_the_one_with_a_trace_passes_it_on(rig: Rig) -> None:
    trace = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"
    rig.broker.append("source", b"1")
    rig.broker.append("source", b"2", headers=[("traceparent", trace)])
    rig.broker.append("source", b"3", headers=[("other", b"x")])

    rig.step()

    headers = [record.headers for record in rig.broker.records("target")]
    assert headers == [[], [("traceparent", trace)], []]


def test_one_that_is_too_large_with_its_trace_is_a_dead_letter(rig: Rig) -> None:
    rig.limits["target"] = 1_000
    trace = [("traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")]
    rig.broker.append("source", b"1", headers=[*trace, ("tracestate", b"s" * 1_000)])
    rig.broker.append("source", b"2", headers=trace)

    rig.step()

    assert rig.values() == ['{"n":2}']
    assert rig.counts.dead_lettered == {"too_large": 1}


def test_each_carries_the_time_of_its_message_if_asked_for(rig: Rig) -> None:
    rig.executor.results.source_time = True
    for time in (1_000, 2_000):
        rig.broker.append("source", b"1", timestamp=time)

    rig.step()

    assert [record.timestamp for record in rig.broker.records("target")] == [1_000, 2_000]


LATER = retry_record(
    Message.of(b"1", topic="source", timestamp=1_000),
    "group.retry.0",
    9_000,
    failure=None,
    tried=Tried(0, 0),
    lane=None,
)


@pytest.mark.parametrize("result", [1, Record(1)], ids=["a value", "a record"])
@pytest.mark.parametrize(
    ("topic", "headers"),
    [(LATER.topic, LATER.headers), ("group.redrive", [("dlq.timestamp", b"1000")])],
)
def test_one_that_comes_again_carries_the_time_that_its_message_had_at_first(
    rig: Rig, topic: str, headers: Headers, result: Any
) -> None:
    rig.executor.results.source_time = True
    raw = StoredMessage(topic, headers=headers, timestamp=2_000)

    record = rig.executor.results.of(raw, result)

    assert isinstance(record, Encoded)
    assert record.timestamp == 1_000
