"""Records that are deleted before they are handled, and those that nobody may read yet."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.system.rig import Kafka, Spec, ids, is_through, numbered

pytestmark = pytest.mark.kafka


def test_messages_that_were_deleted_are_counted_and_the_others_handled(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "echo", {"on_offset_lost": "oldest"})
    spec.create_topics()
    kafka.produce(spec.source, numbered(40))
    with spec.worker() as worker:
        worker.until(lambda: is_through(kafka, spec, 40))
        assert worker.stop() == 0
    kafka.produce(spec.source, list(numbered(200))[40:])
    admin = AdminClient({"bootstrap.servers": kafka.address})
    for future in admin.delete_records([TopicPartition(spec.source, 1, 25)]).values():
        future.result()

    with spec.worker() as worker:
        worker.until(lambda: is_through(kafka, spec, 200))
        lost = worker.count("lost_offsets")
        assert worker.stop() == 0

    missing = set(range(200)) - set(ids(kafka.read(spec.target)))
    assert missing == {one for one in range(200) if one % 4 == 1 and 10 <= one // 4 < 25}
    assert lost == len(missing)


def test_a_transaction_that_stays_open_holds_messages_back_and_is_no_fault(
    kafka: Kafka, tmp_path: Path
) -> None:
    program = ("tests.system.silent", "paused", str(tmp_path / "never"))
    spec = Spec(kafka, tmp_path, "echo", program=program)
    spec.create_topics()
    writer = kafka.producer({"transactional.id": spec.name})
    writer.init_transactions(30)
    writer.begin_transaction()
    writer.produce(spec.source, b'{"id":-1}', partition=0)
    assert writer.flush(30) == 0
    kafka.produce(spec.source, numbered(40))

    with spec.worker() as worker:
        worker.until(lambda: worker.count("handled") == 30)
        worker.until(lambda: stands_for(worker.get("/stats")) > 20.0)
        assert worker.is_ready()
        assert worker.get("/livez") == {"status": "ok", "reasons": []}
        assert worker.pipeline()["counts"]["repairs"] == {}
        assert worker.pipeline()["lag"] == 0
        writer.abort_transaction(30)
        worker.until(lambda: worker.count("handled") == 40)
        worker.until(lambda: worker.pipeline()["lag"] == 0)
        assert worker.stop() == 0, worker.log

    assert sorted(ids(kafka.read(spec.target))) == list(range(40))


def stands_for(stats: dict[str, float]) -> float:
    """Seconds since a worker was started, with the patience of `silent`, all of which are over."""
    return stats["now"] - stats["started"]
