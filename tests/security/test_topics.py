"""No message chooses where results go beyond what the spec names."""

from __future__ import annotations

from tests.engine.rig import Rig
from worker import Record


def forward(topic: str) -> Record:
    """A handler that believes what it is given."""
    return Record("x", topic=topic)


def test_a_result_goes_to_no_topic_that_the_spec_does_not_name() -> None:
    rig = Rig(forward, {"dead_letter": "dlq"})
    rig.broker.create("payments", 1)
    rig.send('"payments"', '"target"')

    rig.step()

    assert rig.values("payments") == []
    assert len(rig.values("target")) == 1
    (letter,) = rig.broker.records("dlq")
    said = dict(letter.headers)
    assert said["dlq.reason"] == b"unencodable"
    assert b"'payments', which the spec does not name" in (said["dlq.message"] or b"")
