"""What a message costs: the Python functions that are called for it, on the real adapters."""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from confluent_kafka import Message as Raw
from confluent_kafka import TopicPartition
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

import worker
from tests.observe.followed import Followed
from worker.app.lanes import lanes_of, tier_lanes_of
from worker.engine.ends import LogEnds
from worker.engine.execute import Executor
from worker.engine.job import Clients, Job
from worker.engine.pipeline import PipelineLoop
from worker.engine.results import Results
from worker.flow.retry import Tier
from worker.handlers import Registry
from worker.kafka.consumer import KafkaConsumer
from worker.kafka.producer import KafkaProducer
from worker.observe.tracing import TraceContext, Watching
from worker.ports import AT_HAND, Consumer
from worker.serdes import SERDES, decoder
from worker.settings import Pipeline
from worker.settings.topics import fence_topic, retry_topic
from worker.testing import ManualClock, MemoryBroker
from worker.testing.pool import InlinePool

CODE = str(Path(worker.__file__).parent)
POOL = inspect.getfile(InlinePool)
MESSAGES = 5_000
KEYS = 1_000

PER_MESSAGE = {
    "Executor._one",
    "_json_object",
    "Json.encode",
}
"""Functions of ours that a message passes on its way from poll to commit, the handler left out.

Each costs about 50 ns, a hundredth of what the whole message takes. Who adds one measures first:
`python -m bench throughput`.
"""

PER_RUN = 128
"""Calls for a run: of 500 messages, or of fewer on a slow machine. Some are made by the clock."""


class Source:
    """A client that always has messages."""

    def __init__(self, _properties: object, **_options: object) -> None:
        self._read = 0
        self._on_assign: Callable[[Any, list[TopicPartition]], None] | None = None

    def subscribe(self, _topics: list[str], on_assign: Any, **_callbacks: Any) -> None:
        self._on_assign = on_assign

    def committed(self, partitions: list[TopicPartition], _timeout: float) -> list[TopicPartition]:
        return [TopicPartition(one.topic, one.partition, 0) for one in partitions]

    def poll(self, _timeout: float) -> Raw:
        if self._on_assign is not None:
            self._on_assign(self, [TopicPartition("source", 0)])
            self._on_assign = None
        return self.consume(1, 0)[0]

    def consume(self, number: int, _timeout: float) -> list[Raw]:
        begin, self._read = self._read, self._read + number
        return [
            Raw(topic="source", partition=0, offset=n, key=b"%d" % (n % KEYS), value=b'{"n":1}')
            for n in range(begin, begin + number)
        ]

    def position(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(one.topic, one.partition, self._read) for one in partitions]

    def memberid(self) -> str:
        return "member"

    def consumer_group_metadata(self) -> bytes:
        return b"CGMDv2:" + (1).to_bytes(4, sys.byteorder)

    def get_watermark_offsets(self, _partition: TopicPartition, **_options: object) -> Any:
        return 0, self._read

    def resume(self, _partitions: list[TopicPartition]) -> None: ...
    def incremental_assign(self, _partitions: list[TopicPartition]) -> None: ...
    def assign(self, _partitions: list[TopicPartition]) -> None: ...
    def commit(self, **options: Any) -> list[TopicPartition]:
        return list(options["offsets"])

    def unsubscribe(self) -> None: ...
    def assignment(self) -> list[TopicPartition]:
        return []

    def close(self) -> None: ...


class Sink:
    """A client that acknowledges everything when it is polled, and lets go of the callbacks."""

    def __init__(self, properties: Mapping[str, object], **_options: object) -> None:
        assert properties["delivery.report.only.error"]
        self._callbacks: list[object] = []
        self.acknowledged = 0

    def produce(self, _topic: str, _value: bytes, *rest: Any) -> None:
        self._callbacks.append(rest[2])

    def poll(self, _timeout: float) -> int:
        served = len(self._callbacks)
        self._callbacks.clear()
        self.acknowledged += served
        return served

    def flush(self, _timeout: float) -> int:
        return 0

    def close(self) -> None: ...


UNWATCHED = Watching(TraceContext())
PLAIN: Mapping[str, Any] = {}
RETRIES = {"retry": {"attempts": 5}}
TIERS = {"retry": {"attempts": 5, "topics": ["1m", "10m"], "keep_order": False}}
BY_KEY = {"ordering": "key"}
FENCES = {"ordering": "key", "retry": {"attempts": 5, "topics": ["1m", "10m"]}}


@contextmanager
def running(
    monkeypatch: pytest.MonkeyPatch, more: Mapping[str, Any], watching: Watching
) -> Iterator[tuple[Iterator[None], Sink]]:
    """The steps of a pipeline on the real adapters, from a source that never ends to a sink."""
    monkeypatch.setattr("worker.kafka.consumer.Client", Source)
    monkeypatch.setattr("worker.kafka.producer.Client", Sink)
    settings = Pipeline.model_validate(
        {"from": "source", "to": "target", "handler": "same", "dead_letter": "dlq", **more}
    )
    registry = Registry()

    def same(payload: dict[str, Any]) -> dict[str, Any]:
        return payload

    registry.handler(same, batch=None, name="same")
    handler = registry.handlers["same"]
    tiers = [Tier(retry_topic("group", n), wait) for n, wait in enumerate(settings.retry.topics)]
    limits = dict.fromkeys(["target", "dlq", *(tier.topic for tier in tiers)], 1_000_000)
    fence = fence_topic("group") if settings.keeps_order else None
    broker = MemoryBroker()
    if fence is not None:
        broker.create(fence, 1)
    observer = watching.observer
    results = Results(
        SERDES["json"].encode, "target", limits, lambda _topic, _wanted: 1, observer, False
    )
    in_order = settings.ordering == "partition"
    decode = decoder(SERDES["json"], handler.payload)
    executor = Executor(handler, decode, results, settings.retry, None, in_order, {})
    producers: list[KafkaProducer] = []

    def producer(**_: bool) -> KafkaProducer:
        producers.append(KafkaProducer({}))
        return producers[-1]

    pool = InlinePool(executor.execute)
    pool.size = 1 if in_order else KEYS
    job = Job(
        "pipeline",
        "group",
        ["source", *(tier.topic for tier in tiers)],
        "same",
        settings,
        500 if in_order else 1,
        lanes=lanes_of(settings, registry),
        tiers=tiers,
        tier_lanes=tier_lanes_of(settings, registry),
        fence=fence,
    )

    def consumer() -> Consumer:
        return watching.consumer(KafkaConsumer({}))

    partitions = dict.fromkeys((tier.topic for tier in tiers), 1)
    ends = LogEnds(broker.admin().ends, broker.clock)
    clients = Clients(consumer, producer, limits, ends, partitions, broker.table)
    loop = PipelineLoop(job, clients, pool, ManualClock(), observer)
    loop.start()
    before = AT_HAND.set(None)
    next(pool.steps)
    sink = producers[0].client
    assert isinstance(sink, Sink)
    yield pool.steps, sink
    loop.stop()
    assert list(pool.steps) == []
    AT_HAND.reset(before)


def calls_of_ours(work: Callable[[], None]) -> Counter[str]:
    """How often `work` calls each function of the worker, but for the pool of tests."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(CODE) and code.co_filename != POOL:
            calls[code.co_qualname] += 1

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def handled(
    monkeypatch: pytest.MonkeyPatch, more: Mapping[str, Any], watching: Watching = UNWATCHED
) -> tuple[Counter[str], int]:
    """The calls for many messages that are handled, and how many these are."""
    with running(monkeypatch, more, watching) as (steps, sink):

        def work() -> None:
            while sink.acknowledged < MESSAGES:
                next(steps)

        return calls_of_ours(work), sink.acknowledged


@pytest.mark.parametrize(
    "more", [PLAIN, RETRIES, TIERS], ids=["plain", "with retries", "with retry topics"]
)
def test_a_message_passes_these_functions_and_no_others(
    monkeypatch: pytest.MonkeyPatch, more: Mapping[str, Any]
) -> None:
    calls, acknowledged = handled(monkeypatch, more)

    per_message = {name for name, number in calls.items() if number >= MESSAGES / 2}
    assert per_message == PER_MESSAGE
    assert calls["Settlement._match_each"] == 0
    assert max(calls.values()) <= acknowledged + 1_000
    others = sum(n for name, n in calls.items() if name not in per_message)
    assert others <= PER_RUN * calls["Settlement.chunk"]
    assert calls["KafkaConsumer.joined"] <= calls["PipelineLoop._publish"]  # 10 ms when busy


def test_a_message_that_is_not_followed_passes_no_more_functions_where_others_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    followed = Followed(sampler=ParentBased(TraceIdRatioBased(0.005)))

    calls, acknowledged = handled(monkeypatch, PLAIN, followed.watching())

    per_message = {name for name, number in calls.items() if number >= MESSAGES / 2}
    assert per_message == PER_MESSAGE
    assert 0 < len(followed.named("process source")) < acknowledged / 100
    spans = len(followed.named("process source")) + len(followed.named("send target"))
    assert calls["Spans.start"] <= spans + len(followed.named("commit source")) + 1


def test_by_key_a_message_passes_no_more_functions_where_lanes_may_be_fenced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def per_message(more: Mapping[str, Any]) -> Mapping[str, int]:
        calls, acknowledged = handled(monkeypatch, more)
        return {name: round(number / acknowledged) for name, number in calls.items()}

    without, with_fences = per_message(BY_KEY), per_message(FENCES)

    assert {name: n for name, n in with_fences.items() if n} == {
        name: n for name, n in without.items() if n
    }
