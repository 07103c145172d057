"""Messages of a key in order while other keys go on, on a real Kafka."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.rig import Kafka, Spec, ids, is_through

pytestmark = pytest.mark.kafka

KEYS = 200
RECORDS = 20_000


def keyed() -> Iterator[tuple[bytes, bytes, int]]:
    """Records of some keys in turn, numbered by key."""
    for number in range(RECORDS):
        key = str(number % KEYS)
        value = {"id": number, "key": key, "number": number // KEYS}
        yield key.encode(), json.dumps(value).encode(), -1


@pytest.mark.parametrize("handler", ["in_turn", "in_turn_in_threads"])
def test_keys_stay_in_order_beside_each_other_while_members_come_and_are_killed(
    kafka: Kafka, tmp_path: Path, handler: str
) -> None:
    settings = {"ordering": "key", "concurrency": 64}
    spec = Spec(kafka, tmp_path, handler, settings)
    failed = f"{spec.name}.dlq"
    spec.settings = {**settings, "dead_letter": failed}
    spec.create_topics()
    kafka.create(failed)
    kafka.produce(spec.source, keyed())

    with spec.worker() as first, spec.worker() as second:
        first.until(lambda: first.count("handled") > 1_000)
        first.kill()
        with spec.worker() as third:
            third.until(lambda: third.owned() > 0)
            third.until(lambda: is_through(kafka, spec, RECORDS))
            assert [second.stop(), third.stop()] == [0, 0]

    assert kafka.read(failed) == []
    assert set(ids(kafka.read(spec.target))) == set(range(RECORDS))


def test_what_was_finished_out_of_order_is_not_handled_again_after_a_kill(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "wait_for_file", {"ordering": "key", "concurrency": 4})
    spec.create_topics()
    gate = tmp_path / "gate"
    head = json.dumps({"id": 0, "file": str(gate)}).encode()
    others = [(b"%d" % n, b'{"id":%d}' % n, 0) for n in range(1, 5_000)]
    kafka.produce(spec.source, [(b"head", head, 0), *others])

    with spec.worker() as first:
        first.until(lambda: kafka.finished(spec.group, spec.source) == [(1, 5_000)])
        first.kill()
    gate.touch()
    kafka.produce(spec.source, [(b"tail", b'{"id":5000}', 0)])
    with spec.worker() as second:
        second.until(lambda: is_through(kafka, spec, 5_001))
        second.stop()

    assert sorted(ids(kafka.read(spec.target))) == list(range(5_001))


def test_one_key_that_waits_keeps_no_other_from_being_handled(kafka: Kafka, tmp_path: Path) -> None:
    spec = Spec(kafka, tmp_path, "wait", {"ordering": "key", "concurrency": 4})
    spec.create_topics()
    slow = [(b"slow", b'{"id":0,"seconds":600}', 0), (b"slow", b'{"id":1}', 0)]
    others = [(b"%d" % n, b'{"id":%d}' % n, 0) for n in range(2, 500)]
    kafka.produce(spec.source, [*slow, *others])

    with spec.worker(drain_timeout="1s") as worker:
        worker.until(lambda: sum(kafka.ends(spec.target)) == len(others))
        worker.until(lambda: kafka.committed(spec.group, spec.source)[0] == 0)
        worker.stop()

    assert set(ids(kafka.read(spec.target))) == set(range(2, 500))
