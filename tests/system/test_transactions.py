"""Input that was written in transactions, some of which were aborted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.rig import Kafka, Spec, ids

pytestmark = pytest.mark.kafka


def write(kafka: Kafka, topic: str, transactions: int, records: int) -> list[int]:
    """Write transactions, abort each third and the last one; the ids of the others."""
    producer = kafka.producer({"transactional.id": topic})
    producer.init_transactions(30)
    committed: list[int] = []
    for transaction in range(transactions):
        mine = range(transaction * records, (transaction + 1) * records)
        producer.begin_transaction()
        for one in mine:
            producer.produce(topic, b'{"id":%d}' % one, partition=one % 2)
        assert producer.flush(30) == 0, "an abort drops what is not in the log yet"
        if transaction % 3 == 2 or transaction == transactions - 1:
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
            committed += mine
    return committed


@pytest.mark.parametrize("handler", ["echo", "echo_slowly", "echo_batch"])
def test_what_was_committed_is_handled_once_and_the_offsets_go_to_the_end(
    kafka: Kafka, tmp_path: Path, handler: str
) -> None:
    spec = Spec(kafka, tmp_path, handler)
    kafka.create(spec.source, spec.target, partitions=2)
    expected = write(kafka, spec.source, 50, 15)

    with spec.worker() as worker:
        worker.until(lambda: worker.count("handled") >= len(expected))
        worker.until(
            lambda: kafka.committed(spec.group, spec.source, 2) == kafka.ends(spec.source, 2)
        )
        worker.until(lambda: worker.pipeline()["lag"] == 0)
        assert worker.pipeline()["in_flight_bytes"] == 0
        assert worker.stop() == 0

    assert sorted(ids(kafka.read(spec.target))) == expected
