"""Exactly once on a real Kafka: results, dead letters, retries, offsets together or not at all."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.system.rig import Kafka, Spec, ids, is_through, numbered

pytestmark = pytest.mark.kafka

EXACTLY = {"delivery": "exactly_once", "transaction": {"timeout": "10s"}, "instance": "one"}


def has_results(kafka: Kafka, spec: Spec, number: int) -> bool:
    return len(kafka.read(spec.target)) >= number


def test_every_message_has_one_result_while_its_worker_is_killed_again_and_again(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "echo", EXACTLY)
    spec.create_topics()
    kafka.produce(spec.source, numbered(200_000))
    for part in (20_000, 60_000, 100_000):
        with spec.worker() as worker:
            worker.until(partial(has_results, kafka, spec, part))
            worker.kill()

    with spec.worker() as worker:
        worker.until(worker.is_ready)
        worker.until(lambda: is_through(kafka, spec, 200_000))
        assert worker.stop() == 0, worker.log

    assert sorted(ids(kafka.read(spec.target))) == list(range(200_000))
