"""Rights to write that are taken from a worker while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin._acl import AclOperation  # not re-exported for type checkers
from confluent_kafka.admin._resource import ResourceType

from tests.system.guarded import USE, Guarded
from tests.system.rig import Spec, ids, is_through, numbered

pytestmark = pytest.mark.kafka

RECORDS = 40
DELIVERIES: Mapping[str, Mapping[str, Any]] = {
    "at_least_once": {},
    "exactly_once": {"delivery": "exactly_once", "transaction": {"timeout": "10s"}},
}
TRANSACTIONS = [AclOperation.WRITE, AclOperation.DESCRIBE]


def granted(guarded: Guarded, folder: Path, handler: str, delivery: str) -> Spec:
    """A spec that may do what it has to, with results and dead letters."""
    spec = Spec(guarded.kafka, folder, handler, client=guarded.settings)
    spec.settings = {**DELIVERIES[delivery], "dead_letter": f"{spec.name}.dlq"}
    spec.create_topics()
    guarded.kafka.create(f"{spec.name}.dlq")
    guarded.grant(spec.name, ResourceType.TOPIC, USE)
    guarded.grant(spec.group, ResourceType.GROUP, [AclOperation.READ])
    guarded.grant(spec.group, ResourceType.TRANSACTIONAL_ID, TRANSACTIONS)
    return spec


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize(("handler", "topic"), [("echo", "out"), ("refuse", "dlq")])
def test_offsets_are_held_while_a_topic_may_not_be_written_and_nothing_is_lost_or_given_up(
    guarded: Guarded, tmp_path: Path, handler: str, topic: str, delivery: str
) -> None:
    kafka, spec = guarded.kafka, granted(guarded, tmp_path, handler, delivery)

    with spec.worker() as worker:
        worker.until(worker.is_ready)
        guarded.revoke(spec.name, ResourceType.TOPIC)
        guarded.grant(spec.source, ResourceType.TOPIC, USE)
        kafka.produce(spec.source, numbered(RECORDS))
        worker.until(lambda: "cannot_deliver" in worker.codes())
        assert worker.get("/livez") == {"status": "ok", "reasons": []}
        assert sum(max(0, one) for one in kafka.committed(spec.group, spec.source)) == 0
        guarded.grant(spec.name, ResourceType.TOPIC, USE)
        worker.until(lambda: is_through(kafka, spec, RECORDS))
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log

    written = kafka.read(f"{spec.name}.{topic}")
    other = {"out": "dlq", "dlq": "out"}[topic]
    assert sorted(set(ids(written))) == list(range(RECORDS))
    assert len(written) == RECORDS or delivery == "at_least_once"
    assert kafka.read(f"{spec.name}.{other}") == []


def test_a_worker_that_may_not_write_transactions_any_more_waits_until_it_may(
    guarded: Guarded, tmp_path: Path
) -> None:
    kafka, spec = guarded.kafka, granted(guarded, tmp_path, "echo", "exactly_once")

    with spec.worker() as worker:
        worker.until(worker.is_ready)
        guarded.revoke(spec.group, ResourceType.TRANSACTIONAL_ID)
        kafka.produce(spec.source, numbered(RECORDS))
        worker.until(lambda: worker.codes() and worker.codes() != ["held_up"])
        worker.until(lambda: "TRANSACTIONAL_ID_AUTHORIZATION_FAILED" in str(worker.get("/readyz")))
        assert worker.get("/livez") == {"status": "ok", "reasons": []}
        guarded.grant(spec.group, ResourceType.TRANSACTIONAL_ID, TRANSACTIONS)
        worker.until(lambda: is_through(kafka, spec, RECORDS))
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log

    assert sorted(ids(kafka.read(spec.target))) == list(range(RECORDS))
