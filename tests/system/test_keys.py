"""Messages of a key in order while other keys go on, on a real Kafka."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.rig import Kafka, Spec, ids, is_through, keyed, misplaced

pytestmark = pytest.mark.kafka

KEYS = 200

in_each_pool = pytest.mark.parametrize("handler", ["in_turn", "in_turn_in_threads"])


def keep_order(kafka: Kafka, folder: Path, handler: str, *, rounds: int, each: int) -> None:
    """Let two members handle many keys, while in each round one is killed and another comes.

    The handler fails on a message whose turn it is not, so that it would be a dead letter.
    """
    spec = Spec(kafka, folder, handler)
    failed = f"{spec.name}.dlq"
    spec.settings = {
        "ordering": "key",
        "concurrency": 64,
        "dead_letter": {"default": failed, "message": True},
    }
    spec.create_topics()
    kafka.create(failed)
    with ExitStack() as stack:
        members = deque(stack.enter_context(spec.worker()) for _ in range(2))
        for one in range(rounds):
            members[0].until(lambda: members[0].owned() > 0)
            kafka.produce(spec.source, keyed(one * each, each, KEYS))
            members[0].until_handled(each // 20)
            members.popleft().kill()
            members.append(stack.enter_context(spec.worker()))
        members[0].until(lambda: is_through(kafka, spec, rounds * each))
        assert [one.stop() for one in members] == [0, 0]

    results = kafka.read(spec.target)
    complaints = [dict(letter.headers() or ())["dlq.message"] for letter in kafka.read(failed)]
    assert complaints == []
    assert set(ids(results)) == set(range(rounds * each))
    assert misplaced(results) == []


@in_each_pool
def test_keys_stay_in_order_beside_each_other_while_members_come_and_are_killed(
    kafka: Kafka, tmp_path: Path, handler: str
) -> None:
    keep_order(kafka, tmp_path, handler, rounds=1, each=20_000)


@pytest.mark.long
@in_each_pool
def test_keys_stay_in_order_over_200_000_messages_and_ten_kills(
    kafka: Kafka, tmp_path: Path, handler: str
) -> None:
    keep_order(kafka, tmp_path, handler, rounds=10, each=20_000)


def behind_heads(gate: Path, each: int) -> Iterator[tuple[bytes, bytes, int]]:
    """In each of four partitions a message that waits for a file, and others behind it."""
    for one in range(4 * each):
        value = {"id": one} if one >= 4 else {"id": one, "file": str(gate)}
        yield b"%d" % one, json.dumps(value).encode(), one % 4


def with_heads(kafka: Kafka, folder: Path, gate: Path) -> Spec:
    """A thousand messages in each of four partitions, of which the first wait for the gate."""
    spec = Spec(kafka, folder, "wait_for_file", {"ordering": "key", "concurrency": 8})
    spec.create_topics()
    kafka.produce(spec.source, behind_heads(gate, 1_000))
    return spec


def test_what_was_finished_out_of_order_is_not_handled_again_by_who_takes_over(
    kafka: Kafka, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    spec = with_heads(kafka, tmp_path, gate)

    with spec.worker(revoke_timeout="1s") as first:
        first.until(
            lambda: all(
                kafka.finished(spec.group, spec.source, number) == [(1, 1_000)]
                for number in range(4)
            )
        )
        with spec.worker() as second:
            second.until(lambda: second.owned() == 2)
            first.until(lambda: first.owned() == 2)
            gate.touch()
            second.until(lambda: is_through(kafka, spec, 4_000))
            first.until(lambda: first.count("dropped") == 2)
            passed_over = second.count("passed_over")
            assert [first.stop(), second.stop()] == [0, 0]

    assert sorted(ids(kafka.read(spec.target))) == list(range(4_000))
    assert passed_over == 2 * 999


def test_what_was_finished_out_of_order_is_not_handled_again_after_a_drain_that_took_too_long(
    kafka: Kafka, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    spec = with_heads(kafka, tmp_path, gate)

    with spec.worker(drain_timeout="1s") as first:
        first.until(lambda: sum(kafka.ends(spec.target)) == 4 * 999)
        first.stop()
    gate.touch()
    with spec.worker() as second:
        second.until(lambda: is_through(kafka, spec, 4_000))
        assert second.stop() == 0

    assert sorted(ids(kafka.read(spec.target))) == list(range(4_000))


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
