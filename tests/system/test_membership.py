"""What a member of a group may do without losing messages, or its membership."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.system.rig import Kafka, Spec, ids, is_in_order, is_through, numbered
from tests.system.test_rebalances import GROUPS, in_each_way

pytestmark = pytest.mark.kafka

SHORT = {"librdkafka": {"max.poll.interval.ms": 6_000}}
"""The time within which a member has to poll is as short as the session."""


def outlast(kafka: Kafka, folder: Path, way: str, seconds: int, silence: int) -> None:
    """Handle a message for so many seconds, longer than a member may go without a poll."""
    client = {"group": GROUPS[way], "librdkafka": {"max.poll.interval.ms": silence * 1_000}}
    spec = Spec(kafka, folder, "wait", {"in_flight": {"messages": 1}}, client=client)
    spec.create_topics()
    slow = b'{"id":0,"seconds":%d}' % seconds
    kafka.produce(spec.source, [(b"a", slow, 0), (b"b", b'{"id":1}', 0)])

    with spec.worker() as worker:
        worker.until(lambda: is_through(kafka, spec, 2))
        assert worker.count("rebalances") == 1
        assert worker.stop() == 0

    assert ids(kafka.read(spec.target)) in ([0, 1], [1, 0])


@pytest.mark.parametrize("way", ["sticky", "consumer"])
def test_a_handler_may_take_longer_than_a_member_may_be_silent(
    kafka: Kafka, tmp_path: Path, way: str
) -> None:
    outlast(kafka, tmp_path, way, seconds=9, silence=6)


@pytest.mark.long
@in_each_way
def test_a_handler_may_take_a_minute_where_a_member_may_be_silent_for_ten_seconds(
    kafka: Kafka, tmp_path: Path, way: str
) -> None:
    outlast(kafka, tmp_path, way, seconds=60, silence=10)


@pytest.mark.parametrize("way", ["sticky", "consumer"])
def test_a_handler_that_keeps_the_interpreter_for_longer_than_a_session_loses_no_partition(
    kafka: Kafka, tmp_path: Path, way: str
) -> None:
    spec = Spec(kafka, tmp_path, "hold_for", client={"group": GROUPS[way]})
    spec.create_topics()
    kafka.produce(spec.source, [(b"a", b'{"id":0,"seconds":10}', 0), (b"b", b'{"id":1}', 1)])

    with spec.worker() as worker:
        worker.until(lambda: is_through(kafka, spec, 2))
        assert worker.count("rebalances") == 1
        assert worker.stop() == 0, worker.log

    assert sorted(ids(kafka.read(spec.target))) == [0, 1]


def test_while_a_handler_keeps_the_interpreter_the_supervisor_says_that_nothing_moves(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "hold_for")
    spec.create_topics()

    with spec.worker("--processes", "2") as worker:
        worker.until(lambda: worker.is_ready() and worker.shares() == [2, 2])
        kafka.produce(spec.source, [(b"a", b'{"id":0,"seconds":20}', 0)])
        worker.until(lambda: worker.codes() == ["held_up"])
        assert worker.get("/livez") == {"status": "ok", "reasons": []}
        worker.until(lambda: is_through(kafka, spec, 1))
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log


def test_a_handler_may_take_longer_than_a_transaction(kafka: Kafka, tmp_path: Path) -> None:
    settings = {
        "delivery": "exactly_once",
        "transaction": {"timeout": "3s"},
        "ordering": "key",
        "concurrency": 4,
    }
    spec = Spec(kafka, tmp_path, "wait", settings)
    spec.create_topics()
    others = [(b"%d" % one, b'{"id":%d}' % one, 0) for one in range(1, 40)]
    kafka.produce(spec.source, [(b"slow", b'{"id":0,"seconds":8}', 0), *others])

    with spec.worker() as worker:
        worker.until(lambda: len(kafka.read(spec.target)) == len(others))
        worker.until(lambda: is_through(kafka, spec, 40))
        assert worker.count("rewinds") == 0
        assert worker.stop() == 0, worker.log

    assert sorted(ids(kafka.read(spec.target))) == list(range(40))


def test_a_drain_may_take_longer_than_a_member_may_be_silent(kafka: Kafka, tmp_path: Path) -> None:
    spec = Spec(kafka, tmp_path, "wait", client=SHORT)
    spec.create_topics()
    kafka.produce(spec.source, [(b"a", b'{"id":0,"seconds":10}', 0)])

    with spec.worker() as worker:
        worker.until(lambda: worker.count("received") == 1)
        assert worker.stop() == 0, worker.log

    assert is_through(kafka, spec, 1)
    assert ids(kafka.read(spec.target)) == [0]


def test_a_drain_that_meets_a_hanging_handler_has_committed_what_was_finished_before(
    kafka: Kafka, tmp_path: Path
) -> None:
    settings = {"commit": {"interval": "10m"}, "drain_timeout": "1s", "concurrency": 2}
    spec = Spec(kafka, tmp_path, "wait", settings)
    spec.create_topics()
    finished = [(b"b", b'{"id":%d}' % n, 1) for n in range(1, 51)]
    kafka.produce(spec.source, [(b"a", b'{"id":0,"seconds":600}', 0), *finished])

    with spec.worker() as worker:
        worker.until(lambda: worker.count("produced") == len(finished))
        assert worker.stop() == 4

    assert kafka.committed(spec.group, spec.source)[1] == len(finished)


@pytest.mark.parametrize("way", ["sticky", "consumer"])
def test_messages_of_a_partition_that_a_draining_worker_is_given_are_for_the_next(
    kafka: Kafka, tmp_path: Path, way: str
) -> None:
    settings = {"commit": {"interval": "100ms"}}
    spec = Spec(kafka, tmp_path, "wait_for_file", settings, client={"group": GROUPS[way]})
    spec.create_topics()
    gate, each = tmp_path / "gate", 50
    held = json.dumps({"file": str(gate)})[1:-1]

    with spec.worker(drain_timeout="1h") as draining, spec.worker(drain_timeout="1s") as other:
        draining.until(lambda: draining.owned() == other.owned() == 2)
        kafka.produce(
            spec.source, [(b"a", b'{"id":%d,%s}' % (n, held.encode()), n) for n in range(4)]
        )
        draining.until(lambda: draining.count("received") == other.count("received") == 2)
        draining.send(signal.SIGTERM)
        draining.until(lambda: draining.pipeline()["status"] == "draining")
        other.stop()
        kafka.produce(spec.source, ((b"a", b'{"id":%d}' % n, n % 4) for n in range(4, 4 + each)))
        draining.until(lambda: draining.pipeline()["clients"]["consumer"]["messages_received"] > 2)
        gate.touch()
        assert draining.ended() == 0
    with spec.worker() as following:
        following.until(lambda: is_through(kafka, spec, 4 + each))
        following.stop()

    assert set(ids(kafka.read(spec.target))) == set(range(4 + each))


@pytest.mark.parametrize("way", ["sticky", "consumer"])
def test_a_worker_that_stood_still_for_longer_than_its_session_joins_again_and_loses_nothing(
    kafka: Kafka, tmp_path: Path, way: str
) -> None:
    records = 8_000
    few = {"in_flight": {"messages": 200}}
    spec = Spec(kafka, tmp_path, "echo_slowly", few, client={"group": GROUPS[way]})
    spec.create_topics()
    kafka.produce(spec.source, numbered(records))

    with spec.worker() as still, spec.worker() as other:
        still.until(lambda: still.owned() == other.owned() == 2 and still.count("handled") > 100)
        still.send(signal.SIGSTOP)
        other.until(lambda: other.owned() == 4)
        still.send(signal.SIGCONT)
        still.until(lambda: still.owned() == other.owned() == 2)
        still.until(lambda: is_through(kafka, spec, records))
        assert [still.stop(), other.stop()] == [0, 0]

    results = kafka.read(spec.target)
    assert set(ids(results)) == set(range(records))
    assert is_in_order(results)
