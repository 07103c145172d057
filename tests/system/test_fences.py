"""Messages that wait in retry topics, and the order of those behind them, on a real Kafka."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from operator import eq
from pathlib import Path
from typing import Any

import pytest

from tests.cli.rig import worker as command
from tests.system.killed import MOMENTS, NEVER
from tests.system.rig import Kafka, Spec, Worker, ids, in_order_at_last, misplaced
from tests.system.test_retries import flaky, keyed
from worker.flow import fence

pytestmark = pytest.mark.kafka

SOON = {"topics": ["1s", "2s"], "on": ["ConnectionError"]}
MUCH_LATER = {**SOON, "topics": ["24h", "48h"]}
NO_WAIT = {"drain_timeout": "24h", "revoke_timeout": "24h"}
"""With these a test would not end if anything waited for messages in retry topics."""
ALONE = {"instance": "one"}
"""A member that is killed and comes again has its partitions back at once."""
TURNS = {"group": {"rebalance": "roundrobin", "session_timeout": "6s", "heartbeat": "1s"}}


class Tiers:
    """A spec whose messages fail in their source and in tiers, and what is left of them."""

    def __init__(
        self,
        kafka: Kafka,
        folder: Path,
        handler: str = "fail_in_tiers",
        *,
        retry: Mapping[str, Any] = SOON,
        **more: Any,
    ) -> None:
        self.kafka = kafka
        self.spec = Spec(kafka, folder, handler, **more)
        self.source, self.target = self.spec.source, self.spec.target
        self.dead = f"{self.spec.name}.dlq"
        self.retry_by(retry)
        kafka.create(self.source, self.target, self.dead)
        self.tiers = [f"{self.spec.group}.retry.{n}" for n in range(len(retry["topics"]))]
        self.fence = f"{self.spec.group}.fence"

    def retry_by(self, retry: Mapping[str, Any]) -> None:
        settings = {"ordering": "key", "concurrency": 64, "dead_letter": self.dead}
        self.spec.settings = {**settings, "retry": retry}

    def trapped(self, moment: str, times: int) -> Worker:
        """Start a worker that ends at this moment."""
        program = ("tests.system.killed", "SIGKILL", moment, str(times))
        return replace(self.spec, program=program).worker(**ALONE)

    def killed_at(self, moment: str, times: int) -> None:
        """Run a worker until it is killed at this moment."""
        with self.trapped(moment, times) as worker:
            assert worker.ended() == -9, worker.log

    def written(self, *topics: str) -> int:
        """Records of topics."""
        return sum(sum(self.kafka.ends(topic)) for topic in topics)

    def committed(self, *topics: str) -> int:
        """Records of topics below their committed offsets."""
        by_topic = (self.kafka.committed(self.spec.group, one) for one in topics)
        return sum(max(0, offset) for offsets in by_topic for offset in offsets)

    def through_partitions(self) -> int:
        """Partitions of the source that are committed to their ends."""
        committed = self.kafka.committed(self.spec.group, self.source)
        return sum(map(eq, committed, self.kafka.ends(self.source)))

    def fenced(self) -> set[bytes]:
        """Fences that stand in the log."""
        last = {record.key() or b"": record.value() for record in self.kafka.read(self.fence)}
        return {key for key, value in last.items() if fence.tier_of(value) is not None}

    def is_through(self) -> bool:
        """Whether everything is committed that the pipeline reads, and no lane is fenced."""
        is_read = (self.written(one) == self.committed(one) for one in (self.source, *self.tiers))
        return all(is_read) and not self.fenced()

    def early(self) -> list[int]:
        """Ids of messages that waited for less than their tiers say, or were handled too soon."""
        results = self.kafka.read(self.target)
        handled = dict(zip(ids(results), (one.timestamp()[1] for one in results), strict=True))
        found = []
        for wait, topic in zip((1_000, 2_000), self.tiers, strict=True):
            for record in self.kafka.read(topic):
                (one,) = ids([record])
                headers = dict(record.headers() or ())
                due = int(headers["retry.due"] or b"")
                failed = int(headers.get("retry.first_failure") or b"0")
                follows = "retry.first_failure" not in headers
                if handled[one] < due or not (follows or due >= failed + wait):
                    found.append(one)
        return found


def heads(records: int, keys: int, folder: Path) -> list[dict[str, Any]]:
    """Payloads of which the first of each key fails in the source, so that the others follow it."""
    return [
        {**payload, "failures": int(payload["number"] == 0)}
        for payload in flaky(records, keys, folder)
    ]


def numbers(member: Worker, topic: str) -> set[int]:
    """Which partitions of a topic a member has."""
    partitions = member.pipeline().get("partitions", ())
    return {one["partition"] for one in partitions if one["topic"] == topic}


def assert_each_is_handled_once(tiers: Tiers, records: int) -> None:
    """In the order of its key; a handler that minds the order has no dead letters, either."""
    assert tiers.kafka.read(tiers.dead) == []
    results = tiers.kafka.read(tiers.target)
    assert sorted(ids(results)) == list(range(records))
    assert misplaced(results) == []


def assert_nothing_is_lost(tiers: Tiers, records: int) -> None:
    """Each is handled at least once, and what counts of each key in order."""
    assert tiers.kafka.read(tiers.dead) == []
    results = tiers.kafka.read(tiers.target)
    assert set(ids(results)) == set(range(records))
    assert in_order_at_last(results)


def test_each_key_stays_in_order_through_retry_topics_and_each_message_has_one_result(
    kafka: Kafka, tmp_path: Path
) -> None:
    records = 50_000
    tiers = Tiers(kafka, tmp_path, "fail_in_tiers_in_turn")
    kafka.produce(tiers.source, keyed(flaky(records, 2_000, tmp_path)))

    with tiers.spec.worker() as worker:
        worker.until(tiers.is_through)
        moved, followed = worker.count("moved"), worker.count("followed")
        assert worker.stop() == 0, worker.log

    assert 0 < followed < moved
    assert_each_is_handled_once(tiers, records)
    assert tiers.early() == []


@pytest.mark.parametrize("moment", ["retry", "commit", "lift"])
def test_a_kill_on_the_way_to_a_retry_topic_loses_nothing_nor_the_order_of_keys(
    kafka: Kafka, tmp_path: Path, moment: str
) -> None:
    each = 400
    tiers = Tiers(kafka, tmp_path)
    payloads = flaky(3 * each, 100, tmp_path)

    kafka.produce(tiers.source, keyed(payloads[:each]))
    with tiers.spec.worker(**ALONE) as worker:
        worker.until(lambda: tiers.committed(tiers.source) == each)
        assert worker.stop() == 0, worker.log
    kafka.produce(tiers.source, keyed(payloads[each : 2 * each]))
    tiers.killed_at(moment, 10)
    kafka.produce(tiers.source, keyed(payloads[2 * each :]))
    with tiers.spec.worker(**ALONE) as worker:
        worker.until(tiers.is_through)
        assert worker.stop() == 0, worker.log

    assert_nothing_is_lost(tiers, 3 * each)


@pytest.mark.long
def test_twenty_kills_on_the_way_to_retry_topics_lose_nothing_nor_the_order_of_keys(
    kafka: Kafka, tmp_path: Path
) -> None:
    records, kills = 20_000, 20
    tiers = Tiers(kafka, tmp_path)
    payloads = flaky(records, 200, tmp_path)
    for kill in range(kills):
        first, last = kill * records // kills, (kill + 1) * records // kills
        kafka.produce(tiers.source, keyed(payloads[first:last]))
        tiers.killed_at(MOMENTS[kill % len(MOMENTS)], 5 + kill)
    with tiers.spec.worker(**ALONE) as worker:
        worker.until(tiers.is_through)
        assert worker.stop() == 0, worker.log

    assert_nothing_is_lost(tiers, records)


def test_a_fence_is_stored_before_its_retry_record_and_that_before_the_offset(
    kafka: Kafka, tmp_path: Path
) -> None:
    found = []
    for moment in ("fence", "retry", "commit"):
        tiers = Tiers(kafka, tmp_path)
        kafka.produce(tiers.source, keyed(heads(1, 1, tmp_path)))
        tiers.killed_at(moment, 1)
        found.append((len(tiers.fenced()), tiers.written(tiers.tiers[0])))
        assert tiers.committed(tiers.source) == 0

    assert found == [(0, 0), (1, 0), (1, 1)]


def test_an_offset_is_not_committed_before_its_retry_record_is_stored(
    kafka: Kafka, tmp_path: Path
) -> None:
    records = 100
    tiers = Tiers(kafka, tmp_path)
    payloads = [
        {**one, "failures": int(one["id"] == 0)} for one in flaky(records, records, tmp_path)
    ]
    kafka.produce(tiers.source, keyed(payloads))

    with tiers.trapped(NEVER, 0) as worker:
        worker.until(lambda: tiers.through_partitions() >= 3)
        worker.kill()
    with tiers.spec.worker(**ALONE) as worker:
        worker.until(tiers.is_through)
        assert worker.stop() == 0, worker.log

    assert_nothing_is_lost(tiers, records)


def test_a_member_that_is_killed_while_messages_wait_leaves_their_lanes_fenced(
    kafka: Kafka, tmp_path: Path
) -> None:
    records, keys = 2_000, 400
    tiers = Tiers(kafka, tmp_path, retry=MUCH_LATER, client=TURNS)
    payloads = heads(records, keys, tmp_path)
    kafka.produce(tiers.source, keyed(payloads[: records // 2]))

    with tiers.spec.worker() as first, tiers.spec.worker() as second:
        second.until(lambda: first.owned() > 0 and second.owned() > 0)
        second.until(lambda: tiers.committed(tiers.source) == records // 2)
        first.kill()
        kafka.produce(tiers.source, keyed(payloads[records // 2 :]))
        second.until(lambda: tiers.committed(tiers.source) == records)
        assert tiers.written(tiers.target) == 0
        assert len(tiers.fenced()) == keys
        assert second.stop() == 0, second.log
    tiers.retry_by(SOON)
    with tiers.spec.worker() as last:
        last.until(tiers.is_through)
        assert last.stop() == 0, last.log

    assert_nothing_is_lost(tiers, records)


def test_each_key_stays_in_order_though_its_retry_topic_belongs_to_another_member(
    kafka: Kafka, tmp_path: Path
) -> None:
    records = 3_000
    tiers = Tiers(kafka, tmp_path, "fail_in_tiers_in_turn", client=TURNS)

    with tiers.spec.worker() as first, tiers.spec.worker() as second:
        first.until(
            lambda: numbers(first, tiers.source) == numbers(second, tiers.tiers[0]) != set()
        )
        first.until(
            lambda: numbers(second, tiers.source) == numbers(first, tiers.tiers[0]) != set()
        )
        kafka.produce(tiers.source, keyed(flaky(records, 300, tmp_path)))
        first.until(tiers.is_through)
        assert [first.stop(), second.stop()] == [0, 0]

    assert_each_is_handled_once(tiers, records)


@pytest.mark.long
def test_each_key_stays_in_order_though_members_are_killed_that_have_another_ones_retry_topic(
    kafka: Kafka, tmp_path: Path
) -> None:
    rounds, each = 6, 4_000
    tiers = Tiers(kafka, tmp_path, client=TURNS)
    payloads = flaky(rounds * each, 200, tmp_path)

    with ExitStack() as stack:
        members = deque(stack.enter_context(tiers.spec.worker()) for _ in range(2))
        for one in range(rounds):
            members[0].until(lambda: members[0].owned() > 0)
            kafka.produce(tiers.source, keyed(payloads[one * each : (one + 1) * each]))
            members[0].until(lambda: members[0].count("moved") >= each // 40)
            members.popleft().kill()
            members.append(stack.enter_context(tiers.spec.worker()))
        members[0].until(tiers.is_through)
        assert [one.stop() for one in members] == [0, 0]

    assert_nothing_is_lost(tiers, rounds * each)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_members_that_join_and_leave_while_10_000_messages_wait_handle_none_of_them_too_soon(
    kafka: Kafka, tmp_path: Path, protocol: str
) -> None:
    records = 10_000
    client = {"group": {"protocol": protocol}}
    tiers = Tiers(
        kafka, tmp_path, "fail_in_tiers_in_turn", retry=MUCH_LATER, client=client, top=NO_WAIT
    )
    kafka.produce(tiers.source, keyed(heads(records, 2_500, tmp_path)))

    with tiers.spec.worker() as first:
        first.until(lambda: tiers.committed(tiers.source) == records)
        every = first.owned()
        with tiers.spec.worker() as second:
            second.until(lambda: min(first.owned(), second.owned()) > 0)
            assert second.stop() == 0, second.log
        first.until(lambda: first.owned() == every)
        assert tiers.written(tiers.target) == 0
        assert first.stop() == 0, first.log
    tiers.retry_by(SOON)
    with ExitStack() as stack:
        members = [stack.enter_context(tiers.spec.worker()) for _ in range(2)]
        members[0].until(tiers.is_through)
        assert [one.stop() for one in members] == [0, 0]

    assert_each_is_handled_once(tiers, records)


def test_a_stop_does_not_wait_for_messages_in_retry_topics(kafka: Kafka, tmp_path: Path) -> None:
    tiers = Tiers(kafka, tmp_path, retry=MUCH_LATER, top=NO_WAIT)
    kafka.produce(tiers.source, keyed(heads(100, 50, tmp_path)))

    with tiers.spec.worker() as worker:
        worker.until(lambda: worker.count("moved") == 100)
        assert worker.stop() == 0, worker.log

    assert tiers.committed(tiers.source) == tiers.written(tiers.tiers[0]) == 100
    assert tiers.committed(*tiers.tiers) == tiers.written(tiers.target) == 0


def test_a_redriven_dead_letter_that_fails_again_goes_through_the_tiers_and_tells_where_it_was(
    kafka: Kafka, tmp_path: Path
) -> None:
    tiers = Tiers(kafka, tmp_path)
    (payload,) = flaky(1, 1, tmp_path)
    kafka.produce(tiers.source, keyed([{**payload, "failures": 9}]))
    (given,) = kafka.read(tiers.source)

    with tiers.spec.worker() as worker:
        worker.until(lambda: tiers.written(tiers.dead) == 1)
        file = tiers.spec.written()
        code, _, err = command(
            "dlq", "redrive", tiers.dead, "--spec", file, "--yes", folder=tmp_path
        )
        assert code == 0, err
        worker.until(lambda: tiers.written(tiers.dead) == 2)
        worker.until(tiers.is_through)
        assert worker.stop() == 0, worker.log

    first, again = (dict(letter.headers() or ()) for letter in kafka.read(tiers.dead))
    assert first["dlq.topic"] == tiers.source.encode()
    assert first["dlq.partition"] == b"%d" % (given.partition() or 0)
    assert first["dlq.offset"] == b"0"
    assert first["dlq.timestamp"] == b"%d" % given.timestamp()[1]
    assert first["dlq.attempts"] == b"3"
    assert again == {**first, "dlq.redrives": b"1"}
    assert [tiers.written(topic) for topic in tiers.tiers] == [2, 2]
