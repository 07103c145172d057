"""Messages that are tried again in place, on a real Kafka."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.system.rig import Kafka, Spec, ids, is_through

pytestmark = pytest.mark.kafka

KEYS = 200
RECORDS = 20_000
SOON = {"attempts": 3, "backoff": {"initial": "10ms"}, "on": ["ConnectionError"]}
MUCH_LATER = {**SOON, "backoff": {"initial": "24h", "max": "24h"}}


def flaky(records: int, keys: int, folder: Path) -> list[dict[str, Any]]:
    """Payloads of some keys in turn, numbered by key; of a twentieth the first attempts fail.

    What handlers share is in a file of the folder: three numbers for each key.
    """
    notes = folder / "notes"
    notes.write_bytes(bytes(12 * keys))
    draw = random.Random(1)
    return [
        {
            "id": number,
            "key": str(number % keys),
            "number": number // keys,
            "failures": draw.choice([1, 2]) if draw.random() < 0.05 else 0,
            "notes": str(notes),
        }
        for number in range(records)
    ]


def keyed(payloads: list[dict[str, Any]]) -> Iterator[tuple[bytes, bytes, int]]:
    for payload in payloads:
        yield payload["key"].encode(), json.dumps(payload).encode(), -1


@pytest.mark.parametrize(
    ("handler", "settings"),
    [
        ("flaky", {"ordering": "partition"}),
        ("flaky", {"ordering": "key", "concurrency": 8}),
        ("flaky_async", {"ordering": "key", "concurrency": 64}),
        ("flaky", {"ordering": "key", "pool": "process", "concurrency": 2}),
    ],
    ids=["partition", "threads", "asyncio", "processes"],
)
def test_each_key_stays_in_order_through_retries_and_each_message_has_one_result(
    kafka: Kafka, tmp_path: Path, handler: str, settings: Mapping[str, Any]
) -> None:
    spec = Spec(kafka, tmp_path, handler)
    failed = f"{spec.name}.dlq"
    spec.settings = {**settings, "retry": SOON, "dead_letter": failed}
    spec.create_topics()
    kafka.create(failed)
    payloads = flaky(RECORDS, KEYS, tmp_path)
    failures = sum(payload["failures"] for payload in payloads)
    kafka.produce(spec.source, keyed(payloads))

    with spec.worker() as worker:
        worker.until(lambda: is_through(kafka, spec, RECORDS))
        assert kafka.read(failed) == []
        worker.until(lambda: worker.count("retried") == failures)
        assert worker.stop() == 0, worker.log
        worker.until_nothing_is_left()

    results = ids(kafka.read(spec.target))
    assert sorted(results) == list(range(RECORDS))
    by_key = defaultdict(list)
    for one in results:
        by_key[one % KEYS].append(one)
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


def test_a_stop_and_a_rebalance_do_not_wait_for_messages_that_wait(
    kafka: Kafka, tmp_path: Path
) -> None:
    records = 400
    timeouts = {"drain_timeout": "24h", "revoke_timeout": "24h"}
    spec = Spec(kafka, tmp_path, "flaky", {"ordering": "key", "retry": MUCH_LATER, **timeouts})
    spec.create_topics()
    payloads = flaky(records, records, tmp_path)
    failures = sum(payload["failures"] > 0 for payload in payloads)
    kafka.produce(spec.source, keyed(payloads))

    with spec.worker() as first:
        first.until(lambda: first.count("handled") == records - failures)
        with spec.worker() as second:
            second.until(lambda: second.owned() == 2)
            assert second.stop() == 0, second.log
        assert first.stop() == 0, first.log
    spec.settings = {"ordering": "key", "retry": SOON}
    with spec.worker() as last:
        last.until(lambda: is_through(kafka, spec, records))
        last.stop()

    assert failures > 10
    assert sorted(ids(kafka.read(spec.target))) == list(range(records))


@pytest.mark.parametrize("ordering", ["partition", "none"])
def test_a_batch_tells_its_failures_apart_and_each_message_has_one_result(
    kafka: Kafka, tmp_path: Path, ordering: str
) -> None:
    records = 2_000
    spec = Spec(kafka, tmp_path, "flaky_batch", {"ordering": ordering, "retry": SOON})
    spec.create_topics()
    kafka.produce(spec.source, keyed(flaky(records, records, tmp_path)))

    with spec.worker() as worker:
        worker.until(lambda: is_through(kafka, spec, records))
        worker.until(lambda: worker.count("retried") > 0)
        assert worker.stop() == 0, worker.log

    assert sorted(ids(kafka.read(spec.target))) == list(range(records))
