"""Handlers that leave threads and processes behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.system.rig import Kafka, Spec, ids, is_through

pytestmark = pytest.mark.kafka

RECORDS = 40


@pytest.mark.parametrize("leaves", ["fork", "process", "thread"])
def test_what_handlers_have_left_behind_keeps_no_worker_from_its_work_nor_from_its_end(
    kafka: Kafka, tmp_path: Path, leaves: str
) -> None:
    spec = Spec(kafka, tmp_path, "leave_behind")
    spec.create_topics()
    values = ({"id": n, "leaves": leaves if n % 10 == 0 else None} for n in range(RECORDS))
    kafka.produce(
        spec.source, ((b"key", json.dumps(one).encode(), n % 4) for n, one in enumerate(values))
    )

    with spec.worker() as worker:
        worker.until(lambda: is_through(kafka, spec, RECORDS))
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log
        worker.until_nothing_is_left()

    assert sorted(ids(kafka.read(spec.target))) == list(range(RECORDS))
