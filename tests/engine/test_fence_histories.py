"""Whatever happens to a group with retry topics: nothing is lost, and each lane stays in order."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from tests.engine.histories import (
    WHOLE,
    GroupHistories,
    any_of_them,
    check,
    in_each_delivery,
    some_work,
    trouble,
)
from tests.engine.member import Member
from tests.engine.rig import GROUP
from worker.engine.chunk import Chunk
from worker.engine.partition import Partition, Run
from worker.engine.runner import Runner
from worker.errors import Retry
from worker.flow import crashes, envelope, fence
from worker.flow.attempts import Attempts
from worker.ports import OnFailed, OnStored
from worker.settings.topics import fence_topic, retry_topic
from worker.testing.memory.cluster import Cluster
from worker.testing.memory.log import Log
from worker.testing.memory.producer import MemoryProducer
from worker.testing.memory.table import MemoryTable
from worker.types import Encoded, Failed, Outcome, RawMessage, TopicPartition, headers_of

PARTITIONS = 2
WAITS = ["1s", "3s", "9s"]
"""Of the tiers."""
ASKED = 2.0
"""Seconds for which a handler may ask, so that a message leaves the first tier out."""
IN_PLACE = 0.5
"""Seconds between two attempts in place."""
FOR_EVER = sys.maxsize
FENCES = fence_topic(GROUP)
TIERS = [retry_topic(GROUP, place) for place in range(len(WAITS))]
ROUNDS = 300
ROUNDS_OF_A_MESSAGE = 20
"""Some more than the seconds that all tiers take."""
EXAMPLES = {"at_least_once": 350, "exactly_once": 200}
"""Of transactions each takes longer: more is written, and there is more to look at."""

Place = tuple[int, int]
"""Partition and offset of a message in the source."""


class Trouble(NamedTuple):
    """How often a message fails before it is handled, and with what."""

    error: Callable[[], Exception]
    times: int


class Lane(NamedTuple):
    """Messages of one partition of the source with one key."""

    partition: int
    key: bytes

    @property
    def digest(self) -> bytes:
        found = fence.lane_of(TopicPartition("source", self.partition), self.key)
        assert found is not None
        return found


def again() -> Exception:
    return OSError("again")


def later() -> Exception:
    return Retry(ASKED)


def never() -> Exception:
    return ValueError("never")


NONE = Trouble(again, 0)
troubles = st.sampled_from(
    [
        *[NONE] * 4,
        *(Trouble(again, times) for times in (1, 1, 2, 3, FOR_EVER)),
        *(Trouble(later, times) for times in (1, FOR_EVER)),
        Trouble(never, 1),
    ]
)
messages = st.tuples(st.sampled_from([b"a", b"a", b"b", None]), troubles)
topics = st.sampled_from([FENCES, *TIERS, "target", "dlq"])
own_records = st.sampled_from([(FENCES, True), *((topic, False) for topic in [FENCES, *TIERS])])
"""By topic, and whether they are empty."""


class WatchedProducer(MemoryProducer):
    """Tells of which assignment a record is, when it is given out and when it is stored."""

    def __init__(self, cluster: Cluster, queue: int, watcher: FenceHistories) -> None:
        super().__init__(cluster, queue)
        self._watcher = watcher
        self._of: dict[int, tuple[Encoded, Partition]] = {}

    member: Watched

    def send(self, records: Sequence[Encoded], on_stored: OnStored, on_failed: OnFailed) -> int:
        chunk = getattr(on_stored, "args", (None,))[0]
        assert isinstance(chunk, Chunk)
        self._of |= {id(record): (record, chunk.partition) for record in records}
        for record in records:
            self._watcher.sent(self.member, chunk.partition, record)
        return super().send(records, on_stored, on_failed)

    def _append(self, log: Log, record: Encoded, timestamp: int) -> None:
        super()._append(log, record, timestamp)
        self._watcher.stored(self.member, self._of[id(record)][1], record)


class WatchedTable(MemoryTable):
    """Lets other members go on before and after it is read, as they do elsewhere."""

    def __init__(self, cluster: Cluster, others_go_on: Callable[[], None]) -> None:
        super().__init__(cluster)
        self._others_go_on = others_go_on

    def read(self, partitions: Sequence[TopicPartition]) -> Sequence[RawMessage]:
        self._others_go_on()
        records = super().read(partitions)
        self._others_go_on()
        return records


class WatchedRunner(Runner):
    """Knows which partitions it has given back with all that they had."""

    given_back: list[Partition]

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        leaving = [self.partitions[one] for one in partitions if one in self.partitions]
        deadline = self._clock.monotonic() + self.job.settings.revoke_timeout
        super().revoked(partitions)
        if self._clock.monotonic() < deadline and self.committer.failure is None:
            self.given_back += leaving


class Watched(Member):
    """A member whose producers are watched."""

    def __init__(self, watcher: FenceHistories, *args: Any) -> None:
        self._watcher = watcher
        self.given_back: list[Partition] = []
        super().__init__(*args)

    def _make_producer(self, *, alone: bool) -> MemoryProducer:  # noqa: ARG002
        self.producer = producer = WatchedProducer(self.broker, self.queue, self._watcher)
        producer.member = self
        self.broker.producers.append(producer)
        return producer

    def _join(self) -> Runner:
        others_go_on = partial(self._watcher.others_go_on, self)
        clients = replace(self._clients, table=lambda: WatchedTable(self.broker, others_go_on))
        runner = WatchedRunner(
            self._job,
            clients,
            self.pool,
            self.clock,
            self.observer,
            self.counts,
            self.groups,
            self.late,
            self.given_up,
        )
        runner.given_back = self.given_back
        return runner

    def owns(self, partition: Partition) -> bool:
        """Whether an assignment is the one that the group knows."""
        member = self.consumer._member
        known = member is not None and not member.expired and partition.source in member.owned
        return known and partition.alive


class FenceHistories(GroupHistories):
    """A group that keeps the order of lanes with retry topics."""

    def __init__(self, delivery: str) -> None:
        super().__init__(delivery)
        self._lanes: dict[Lane, list[Place]] = {}
        self._lane_of: dict[Place, Lane] = {}
        self._troubles: dict[Place, Trouble] = {}
        self._failures: Counter[Place] = Counter()
        self._moment = 0
        self._tried: dict[Place, int] = {}
        """When a message was tried last."""
        self._settled: dict[Place, int] = {}
        """When it was handled last, or given up for good."""
        self._attempts: Counter[Place] = Counter()
        self._passed: dict[Place, int] = {}
        """How many tiers a message was through when it was tried first."""
        self._attempts_there: Counter[tuple[TopicPartition, int, int]] = Counter()
        """At a record by one owner."""
        self._owners: list[Attempts] = []
        self._tiers_of: dict[Place, set[int]] = {}
        """The tiers that hold, or have held, a copy of a message."""
        self._results: set[Place] = set()
        self._dead: set[Place] = set()
        self._ends_alone: Counter[Place] = Counter()
        self._checked: Counter[TopicPartition] = Counter()
        self._fences: dict[bytes, bytes] = {}
        """The log of fences as it reads."""
        self._late: set[bytes] = set()
        """Digests of lanes of which something was written for an assignment that was over.

        A record on its way outlives its sender: one that was killed or taken for dead, or whose
        `revoke_timeout` was over. The next owner cannot see it, nor shut it out without a
        transaction, so it may lie behind what came later, or take away a fence that stands again.
        """
        self._left_fences = False
        """Whether such a record has raised a fence: nobody knows of it before the next owner."""
        self._disturbed = self._exactly_once
        """Whether messages may come again, as they do when a transaction takes too long."""
        self._deliveries_failed = False
        self._others: list[list[int]] = []
        """Members that take steps in the middle of one of another, each time there is one."""
        self._busy: list[Member] = []
        self._generation = 0
        """Of the group, when it had begun."""

    # --- what happens ---

    @initialize(
        tiers=st.sampled_from([2, 2, 3]),
        attempts=st.integers(1, 2),
        concurrency=st.integers(1, 4),
        in_flight=st.sampled_from([4, 12, 10_000]),
        queue=st.sampled_from([2, 100_000]),
        commit_after=st.sampled_from([1, 10_000, 10_000]),
        interval=st.sampled_from(["100ms", "2s"]),
        members=st.integers(1, 2),
        crashes=st.booleans(),
        troubled=st.sampled_from([True, True, False]),
    )
    def begin(
        self,
        *,
        tiers: int,
        attempts: int,
        concurrency: int,
        in_flight: int,
        queue: int,
        commit_after: int,
        interval: str,
        members: int,
        crashes: bool,
        troubled: bool,
    ) -> None:
        self._tiers, self._in_place, self._concurrency = tiers, attempts, concurrency
        self._queue, self._crashes, self._may_be_troubled = queue, crashes, troubled
        self._settings = {
            "ordering": "key",
            "delivery": self._delivery,
            "transaction": {"interval": interval, "messages": commit_after, "timeout": "5s"},
            "in_flight": {"messages": in_flight},
            "commit": {"messages": commit_after},
            "revoke_timeout": "2s",
            "drain_timeout": "2s",
            "dead_letter": "dlq",
            "retry": {
                "attempts": attempts,
                "topics": WAITS[:tiers],
                "backoff": {
                    "initial": IN_PLACE,
                    "max": IN_PLACE,
                    "multiplier": 1,
                    "jitter": 0,
                },
                "give_up_on": ["ValueError"],
            },
        }
        for _ in range(members):
            self.join()
        self.step(0, 1, [])
        self._generation = self._broker.group(GROUP).generation

    @rule(
        partition=st.integers(0, PARTITIONS - 1),
        messages=st.lists(messages, min_size=1, max_size=6),
    )
    def produce(self, partition: int, messages: list[tuple[bytes | None, Trouble]]) -> None:
        for key, one in messages:
            place = partition, self._broker.log(TopicPartition("source", partition)).end
            self._broker.append(
                "source", json.dumps({"place": place}).encode(), key, partition=partition
            )
            self._troubles[place] = one
            if key is not None:
                self._lane_of[place] = lane = Lane(partition, key)
                self._lanes.setdefault(lane, []).append(place)

    def _give_work(self) -> None:
        for partition in range(PARTITIONS):
            self.produce(partition, [(b"a", Trouble(again, 1)), (b"a", NONE), (b"b", NONE)])

    @rule(rounds=st.integers(1, 10))
    def work(self, rounds: int) -> None:
        """Let so much time pass without trouble that messages go from tier to tier."""
        for _ in range(rounds):
            self._work()

    @trouble
    @rule(who=any_of_them, which=own_records, times=st.integers(1, 2), stored=st.booleans())
    def time_deliveries_of_its_own_out(
        self,
        who: int,
        which: tuple[str, bool],
        times: int,
        stored: bool,  # noqa: FBT001 - hypothesis gives it by name
    ) -> None:
        """Let retry records fail, or fences, or what lifts them; some are stored all the same."""
        self._trouble()
        self._deliveries_fail()
        self._member(who).producer.fail_next(
            times=times,
            when=lambda one: (one.topic, one.value is None) == which,
            stored=stored,
        )

    @trouble
    @rule(who=any_of_them, topic=topics)
    def hold_acknowledgements_of_a_topic(self, who: int, topic: str) -> None:
        self._trouble()
        self._member(who).producer.hold_deliveries(topic=topic)

    @some_work
    @rule(who=any_of_them, topic=st.sampled_from(["source", *TIERS]), partition=st.integers(0, 1))
    def win(self, who: int, topic: str, partition: int) -> None:
        """Let a partition of a source or a tier go to any member: they go together nowhere."""
        source, consumer = TopicPartition(topic, partition), self._member(who).consumer
        if not self._member(who).expired and topic not in TIERS[self._tiers :]:
            consumer.win(source)

    @some_work
    @rule(others=st.lists(st.lists(any_of_them, max_size=4), min_size=1, max_size=4))
    def look_while_others_go_on(self, others: list[list[int]]) -> None:
        """Let some take steps before and after each reading of the log of fences."""
        self._others = others
        self._work()
        self._others = []

    def others_go_on(self, member: Member) -> None:
        """Let others take steps while this one is in the middle of its own."""
        self._busy.append(member)
        for who in self._others.pop(0) if self._others else ():
            other = self._member(who)
            if other not in self._busy:
                while other.pool.begun:
                    other.pool.finish((0, WHOLE))
                other.runner.step()
        self._busy.remove(member)

    def _make_member(self) -> Member:
        member = Watched(
            self, self._handler(), self._settings, self._broker, self._queue, PARTITIONS
        )
        member.pool.size = self._concurrency
        member.pool.in_process = self._crashes
        member.pool.on_handled = partial(self._handled, member)
        return member

    def _handler(self) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def handle(payload: dict[str, Any]) -> dict[str, Any]:
            """Give the payload back, or fail as often as its message does."""
            partition, offset = payload["place"]
            place = partition, offset
            trouble = self._troubles[place]
            if self._failures[place] < trouble.times:
                raise trouble.error()
            return payload

        return handle

    def _trouble(self) -> None:
        self._disturbed = True

    def _deliveries_fail(self) -> None:
        self._deliveries_failed = True

    def _falls_silent(self, member: Member) -> None:
        committed = self._broker.group(GROUP).committed
        for source in member.runner.partitions.keys() & committed.keys():
            commit = committed[source]
            suspect = envelope.note_of(commit.metadata, commit.offset).suspect
            if suspect is not None:
                (record,) = self._broker.log(source).read(suspect, 1, "read_committed")
                self._ends_alone[_place(record)] += 1

    # --- what is seen ---

    def _handled(self, member: Watched, run: Run, outcome: Outcome) -> None:
        (message,) = run.messages
        place, partition = _place(message), run.partition
        if isinstance(outcome, Failed):
            self._failures[place] += 1
        if not member.owns(partition):
            return
        self._moment += 1
        self._tried[place] = self._moment
        self._attempts[place] += 1
        self._passed.setdefault(place, partition.passed)
        lane = self._lane_of.get(place)
        if lane is not None and lane.digest not in self._late:
            self._look_at_order(lane, place)
        self._look_at_attempts(partition, message, place)
        if self._is_settled(partition, message, outcome):
            self._settled[place] = self._moment

    def _look_at_order(self, lane: Lane, place: Place) -> None:
        """What is in front of it has been settled, be it to come again.

        Not if it is behind a record that was refused: it lies in its tier, and that one does not.
        """
        places = self._lanes[lane]
        if self._exactly_once or not self._deliveries_failed:
            for earlier in places[: places.index(place)]:
                known = earlier in self._settled or self._ends_alone[earlier] >= crashes.TRIES
                assert known, f"{place} was tried before {earlier} was settled"
        if not self._disturbed:
            assert place not in self._settled, f"{place} is settled and was tried again"

    def _look_at_attempts(self, partition: Partition, message: RawMessage, place: Place) -> None:
        if all(partition.attempts is not one for one in self._owners):
            self._owners.append(partition.attempts)  # kept, so that no other has its identity
        there = partition.source, id(partition.attempts), message.offset()
        self._attempts_there[there] += 1
        if not (self._deliveries_failed or self._exactly_once):
            limit = self._attempts_in_place(partition, message)
            assert self._attempts_there[there] <= limit, f"{place} has too many attempts"
        if not self._disturbed and self._generation == self._broker.group(GROUP).generation:
            assert self._attempts[place] <= self._in_place + self._tiers

    def _attempts_in_place(self, partition: Partition, message: RawMessage) -> int:
        before = int(dict(headers_of(message) or ()).get("retry.attempts") or b"0")
        return 1 if partition.tier is not None and before else self._in_place

    def _is_settled(self, partition: Partition, message: RawMessage, outcome: Outcome) -> bool:
        if not isinstance(outcome, Failed) or not outcome.again:
            return True
        if partition.passed < self._tiers:
            return False
        failed = partition.attempts.get(message.offset())
        before = 0 if failed is None else failed.counted
        return before + 1 >= self._attempts_in_place(partition, message)

    def sent(self, member: Watched, partition: Partition, record: Encoded) -> None:
        """See a record that is given to a producer."""
        if record.topic not in TIERS or not member.owns(partition):
            return
        headers = dict(record.headers)
        digest = headers.get("retry.lane")
        if digest is None or digest in self._late:
            return
        assert isinstance(digest, bytes)
        place = _place_of(record.value)
        raised = self._fences.get(fence.encode(partition.source, digest))
        tier = TIERS.index(record.topic)
        assert raised == b"%d" % tier, f"{place} goes to tier {tier} without a fence"
        lane = self._lanes[self._lane_of[place]]
        before = lane if self._disturbed else lane[: lane.index(place) + 1]
        assert any(self._failures[one] for one in before), f"{place} follows none that has failed"

    def stored(self, member: Watched, partition: Partition, record: Encoded) -> None:
        """See a record that is in its log."""
        is_late = not member.owns(partition)
        assert not is_late or all(partition is not one for one in member.given_back), (
            f"{partition.source} was given back before {record} was stored"
        )
        if record.topic == FENCES:
            assert record.key is not None
            fenced = fence.decode(record.key)
            assert fenced is not None
            if record.value is None:
                self._fences.pop(record.key, None)
            else:
                assert isinstance(record.value, bytes)
                self._fences[record.key] = record.value
                self._left_fences |= is_late
            if is_late:
                self._late.add(fenced[1])
            return
        place = _place_of(record.value)
        if record.topic == "target":
            self._results.add(place)
        elif record.topic == "dlq":
            self._dead.add(place)
        else:
            self._tiers_of.setdefault(place, set()).add(TIERS.index(record.topic))
            if is_late and place in self._lane_of:
                self._late.add(self._lane_of[place].digest)

    def _see_what_is_committed(self) -> None:
        """What transactions have written counts when they are committed, and all of it at once."""
        if not self._exactly_once:
            return
        self._results = {*self._places_in("target")}
        self._dead = {*self._places_in("dlq")}
        self._tiers_of = {}
        for tier, topic in enumerate(TIERS[: self._tiers]):
            for place in self._places_in(topic):
                self._tiers_of.setdefault(place, set()).add(tier)
        last = {record.key: record.value for record in self._records(FENCES)}
        self._fences = {key: value for key, value in last.items() if key and value is not None}

    def _places_in(self, topic: str) -> list[Place]:
        return [_place_of(record.value) for record in self._records(topic)]

    # --- what must hold ---

    @invariant()
    def each_message_is_once_in_a_topic_and_given_up_or_handled(self) -> None:
        if not self._exactly_once:
            return
        for topic in ["target", "dlq", *TIERS[: self._tiers]]:
            places = self._places_in(topic)
            assert len(places) == len({*places}), f"a message is twice in {topic}"
        assert {*self._places_in("target")}.isdisjoint(self._places_in("dlq"))
        for key, places in self._results_by_lane().items():
            assert places == sorted(places), f"results of {key} are out of order"

    def _results_by_lane(self) -> dict[Lane, list[Place]]:
        """Those of messages with a key, in order: a lane has one partition of the target."""
        found: dict[Lane, list[Place]] = {}
        for place in self._places_in("target"):
            if place in self._lane_of:
                found.setdefault(self._lane_of[place], []).append(place)
        return found

    @invariant()
    def no_commit_passes_over_a_message_that_is_nowhere_else(self) -> None:
        self._see_what_is_committed()
        for source, commit in self._broker.group(GROUP).committed.items():
            passed = TIERS.index(source.topic) + 1 if source.topic in TIERS else 0
            log, start = self._broker.log(source), self._checked[source]
            for record in log.read(start, commit.offset - start, "read_committed"):
                if record.offset() >= commit.offset:
                    break
                place = _place(record)
                is_kept = place in self._results | self._dead or any(
                    tier >= passed for tier in self._tiers_of.get(place, ())
                )
                assert is_kept, f"{place} is nowhere, and {source} was committed at {commit}"
            self._checked[source] = max(start, commit.offset)

    @invariant()
    def what_a_pipeline_holds_is_what_its_partitions_hold(self) -> None:
        for member in self._members:
            runner = member.runner
            held = list(runner.partitions.values())
            assert runner.failed is None
            assert runner.pressure.messages == sum(one.in_flight for one in held)
            assert runner.pressure.bytes == sum(one.size for one in held)

    def teardown(self) -> None:
        if sys.exc_info()[0] is None and self._members + self._killed:
            self._broker.start()
            rounds = ROUNDS + ROUNDS_OF_A_MESSAGE * len(self._troubles)
            self._let_everything_go(rounds)
            if self._left_fences:
                self._left_fences = False
                while self._members:
                    self.leave(0, [])
                self._let_everything_go(rounds)
            self.no_commit_passes_over_a_message_that_is_nowhere_else()
            self.what_a_pipeline_holds_is_what_its_partitions_hold()
            assert self._results | self._dead == self._troubles.keys()
            self._look_at_the_order_of_lanes()
            assert self._disturbed or self._none_is_given_up_early()

    def _look_at_the_order_of_lanes(self) -> None:
        """The last attempt at a message is over before a later one of its lane is settled."""
        for lane, places in self._lanes.items():
            if lane.digest in self._late:
                continue
            last = 0
            for place in places:
                settled = self._settled.get(place)
                if settled is not None:  # else it has ended its members
                    assert settled > last, f"{place} was settled before one in front of it"
                last = max(last, self._tried.get(place, 0))

    def _none_is_given_up_early(self) -> bool:
        """Whether messages had all of their attempts, from where they were tried first."""
        return all(
            self._failures[place] >= self._in_place + self._tiers - self._passed[place]
            for place in self._dead
            if self._troubles[place].error is again
        )

    def _is_through(self) -> bool:
        self._see_what_is_committed()
        committed = self._broker.committed(GROUP)
        topics = ["source", *TIERS[: self._tiers]]
        sources = [TopicPartition(topic, n) for topic in topics for n in range(PARTITIONS)]
        return (
            all(committed.get(one) == self._broker.log(one).end for one in sources)
            and self._holds_nothing()
            and (self._left_fences or self._no_lane_is_fenced())
        )

    def _no_lane_is_fenced(self) -> bool:
        held = [one for member in self._members for one in member.runner.partitions.values()]
        return not self._fences and not any(partition.fences for partition in held)


def _place(message: RawMessage) -> Place:
    return _place_of(message.value())


def _place_of(value: bytes | None) -> Place:
    partition, offset = json.loads(value or b"")["place"]
    return partition, offset


@in_each_delivery
def test_whatever_happens_nothing_is_lost_and_lanes_stay_in_order(delivery: str) -> None:
    check(partial(FenceHistories, delivery), examples=EXAMPLES[delivery], steps=60)


def of_two_members(**others: Any) -> FenceHistories:
    """A history in which the second member has the tiers of the partition that the first reads."""
    history = FenceHistories("at_least_once")
    start = {"attempts": 1, "concurrency": 1, "in_flight": 10_000, "queue": 100_000}
    more = {
        "commit_after": 1,
        "interval": "1s",
        "members": 2,
        "crashes": False,
        "troubled": True,
        "tiers": 2,
    }
    history.begin(**(start | more | others))
    history.win(0, "source", 0)
    for tier in TIERS[:2]:
        history.win(1, tier, 0)
    history.work(4)
    return history


def test_a_partition_is_not_given_back_while_a_fence_of_it_is_lifted() -> None:
    history = of_two_members()
    history.produce(0, [(b"a", Trouble(again, 1))])
    history.work(2)
    history.hold_acknowledgements_of_a_topic(0, FENCES)
    history.work(6)

    history.win(1, "source", 0)
    history.work(2)
    history.acknowledge(0)

    history.teardown()


def test_a_fence_stays_where_its_lane_moves_on_between_two_looks_of_its_owner() -> None:
    history = of_two_members()
    history.produce(0, [(b"a", Trouble(again, 2))])
    first, second = history._members
    for _ in range(4):
        first.pool.finish((0, WHOLE))
        history.step(0, 2, [])
        history.let_time_pass(1.0)
    history.step(1, 4, [])
    assert second.pool.begun, "the message is tried in its tier"
    history.produce(0, [(b"a", NONE)])

    history._others = [[], [1, 1, 1]]
    history.step(0, 1, [])
    history.work(1)

    history.teardown()


def test_a_message_is_not_finished_while_one_in_front_of_it_is_on_its_way_to_the_dead_letters() -> (
    None
):
    history = of_two_members(commit_after=10_000)
    history.produce(0, [(b"a", Trouble(never, 1)), (b"a", NONE)])
    history.hold_acknowledgements_of_a_topic(0, "dlq")
    history.work(4)

    history.restart(0)

    history.teardown()


@pytest.mark.long
@pytest.mark.timeout(1800)
@in_each_delivery
def test_nor_in_any_of_many_more_histories(delivery: str) -> None:
    check(partial(FenceHistories, delivery), examples=5_000, steps=60)
