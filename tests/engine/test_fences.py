"""Fences of lanes whose messages are in retry topics, where something goes wrong."""

from __future__ import annotations

from typing import Any

from tests.engine.rig import GROUP, Rig
from worker.settings.topics import fence_topic
from worker.types import Encoded

FENCES = fence_topic(GROUP)


def failing_once() -> Rig:
    """A pipeline with one tier in which the first attempt of all fails."""
    failures = [OSError()]

    def handle(payload: dict[str, Any]) -> dict[str, Any]:
        if failures:
            raise failures.pop()
        return payload

    settings = {"ordering": "key", "dead_letter": "dlq", "retry": {"topics": ["1s"]}}
    return Rig(handle, settings)


def lifts(record: Encoded) -> bool:
    return record.topic == FENCES and record.value is None


def test_a_fence_is_lifted_again_where_that_could_not_be_delivered() -> None:
    rig = failing_once()
    rig.producer.fail_next(when=lifts)

    rig.send('{"n": 1}')
    for _ in range(20):
        rig.step()

    assert rig.counts.rewinds == 1
    assert [record.value for record in rig.broker.records(FENCES)] == [b"0", None]
    assert rig.values() == ['{"n":1}']
