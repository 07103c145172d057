"""Pipelines whose handlers all fail for a while, on a real Kafka."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.system.rig import Kafka, Spec, ids, is_through

pytestmark = pytest.mark.kafka

RECORDS = 2_000
BREAKER = {"name": "file", "failures": 5, "reset": "100ms", "on": ["FileNotFoundError"]}


def needing(file: Path) -> Iterator[tuple[bytes, bytes, int]]:
    """Records with ids in turn over the partitions, whose handler needs a file."""
    for one in range(RECORDS):
        yield str(one).encode(), json.dumps({"id": one, "file": str(file)}).encode(), one % 4


@pytest.mark.parametrize(
    ("handler", "settings"),
    [
        ("need_file", {"ordering": "partition"}),
        ("need_file", {"ordering": "key", "concurrency": 8}),
        ("need_file_async", {"ordering": "none", "concurrency": 64}),
        ("need_file", {"ordering": "key", "pool": "process", "concurrency": 2}),
        ("need_file_batch", {"ordering": "partition"}),
    ],
    ids=["partition", "threads", "asyncio", "processes", "batches"],
)
def test_nothing_is_given_up_while_a_dependency_is_away(
    kafka: Kafka, tmp_path: Path, handler: str, settings: Mapping[str, Any]
) -> None:
    spec, file = Spec(kafka, tmp_path, handler), tmp_path / "there"
    failed = f"{spec.name}.dlq"
    spec.settings = {**settings, "breaker": BREAKER, "dead_letter": failed}
    spec.create_topics()
    kafka.create(failed)
    kafka.produce(spec.source, needing(file))

    with spec.worker() as worker:
        worker.until(lambda: worker.pipeline().get("breaker_open"))
        opened = worker.count("retried")
        worker.until(lambda: worker.count("retried") >= opened + 5)
        assert worker.metric("worker_breaker_open") == 1
        worker.until(lambda: "breaker file is open" in str(worker.get("/readyz")))
        file.touch()
        worker.until(lambda: is_through(kafka, spec, RECORDS))
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log

    assert kafka.read(failed) == []
    assert sorted(ids(kafka.read(spec.target))) == list(range(RECORDS))


def test_a_rebalance_and_a_stop_do_not_wait_for_an_open_breaker(
    kafka: Kafka, tmp_path: Path
) -> None:
    file = tmp_path / "there"
    timeouts = {"drain_timeout": "24h", "revoke_timeout": "24h"}
    settings = {"breaker": {**BREAKER, "reset": "24h"}, **timeouts}
    spec = Spec(kafka, tmp_path, "need_file", settings)
    spec.create_topics()
    kafka.produce(spec.source, needing(file))

    with spec.worker() as first:
        first.until(lambda: first.pipeline().get("breaker_open"))
        with spec.worker() as second:
            second.until(lambda: second.owned() == 2)
            second.until(lambda: second.pipeline().get("breaker_open"))
            assert first.pipeline()["breaker_open"]
            assert second.stop() == 0, second.log
        assert first.stop() == 0, first.log
    file.touch()
    with spec.worker() as last:
        last.until(lambda: is_through(kafka, spec, RECORDS))
        assert last.stop() == 0, last.log

    assert sorted(ids(kafka.read(spec.target))) == list(range(RECORDS))


@pytest.mark.parametrize(
    ("handler", "settings"),
    [
        ("need_file", {"ordering": "partition"}),
        ("need_file_async", {"ordering": "key", "concurrency": 64}),
        ("need_file", {"ordering": "none", "pool": "process", "concurrency": 2}),
    ],
    ids=["partition", "asyncio", "processes"],
)
def test_a_flood_gives_up_a_bounded_number_and_nothing_is_lost_or_double(
    kafka: Kafka, tmp_path: Path, handler: str, settings: Mapping[str, Any]
) -> None:
    spec, file = Spec(kafka, tmp_path, handler), tmp_path / "there"
    failed = f"{spec.name}.dlq"
    limit = {"max_consecutive": 20}
    spec.settings = {**settings, "flood_limit": limit, "dead_letter": failed}
    spec.create_topics()
    kafka.create(failed)
    kafka.produce(spec.source, needing(file))

    with spec.worker() as worker:
        worker.until(lambda: worker.owned() and worker.metric("worker_flooded_partitions") == 4)
        worker.until(lambda: "is flooded" in str(worker.get("/readyz")))
        worker.until(lambda: worker.count("retried") >= 8)
        file.touch()
        worker.until(lambda: is_through(kafka, spec, RECORDS))
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log

    given_up, handled = ids(kafka.read(failed)), ids(kafka.read(spec.target))
    assert 80 <= len(given_up) <= 90
    assert sorted(given_up + handled) == list(range(RECORDS))
