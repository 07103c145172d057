"""Whatever happens in whatever order: what must hold of a group at each moment, and in the end."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.engine.histories import GroupHistories, any_of_them, check, in_each_delivery
from tests.engine.member import Member
from tests.engine.rig import GROUP
from worker.engine.partition import Partition, Run
from worker.flow import crashes, envelope
from worker.flow.lanes import LANES
from worker.types import Encoded, Failed, Outcome, RawMessage, TopicPartition

PARTITIONS = 3
SOURCES = [TopicPartition("source", number) for number in range(PARTITIONS)]
FAILURES = 2
"""Attempts at a message that fail at most, before one that does not."""
WAIT = 0.5
"""Seconds before a message is tried again."""
ROUNDS = 300
"""After so many rounds in which nothing bad happens, and some for each message, everything is
through, or never will be."""
EXAMPLES = {"at_least_once": 250, "exactly_once": 150}
"""Of transactions each takes longer: more is written, and there is more to look at."""

Place = tuple[int, int]
"""Partition and offset of a message."""

sources = st.sampled_from(SOURCES)
keys = st.sampled_from([b"a", b"b", b"c", None])

in_each_ordering = pytest.mark.parametrize("ordering", LANES)


class Histories(GroupHistories):
    """A group of some members that share a topic, and all that can happen to them."""

    def __init__(self, ordering: str, delivery: str) -> None:
        super().__init__(delivery)
        self._ordering = ordering
        self._results: dict[Place, int] = {}
        """How many results each message has; -1 for one that fails."""
        self._lanes: dict[object, list[Place]] = {}
        self._keyless: set[Place] = set()
        self._handled: set[Place] = set()
        self._covered: set[Place] = set()
        """What a commit that was successful says is finished."""
        self._deliveries_failed = False
        self._ends_alone: Counter[Place] = Counter()
        """How often an owner has ended while a message was named."""
        self._refused: set[Place] = set()
        """Messages whose results a broker refuses."""
        self._left: Counter[Place] = Counter()
        """How often messages fail before they are handled."""
        self._due: dict[tuple[Partition, Place], float] = {}
        """When messages may be tried again."""

    def _handler(self) -> Callable[[dict[str, Any]], list[dict[str, Any]]]:
        def handle(payload: dict[str, Any]) -> list[dict[str, Any]]:
            """Give the payload back as often as it says, or fail, for a while or for good."""
            partition, offset = payload["place"]
            if self._left[partition, offset]:
                self._left[partition, offset] -= 1
                raise OSError
            if payload["results"] < 0:
                raise ValueError
            return [{**payload, "part": part} for part in range(payload["results"])]

        return handle

    # --- what happens ---

    @initialize(
        dead_letters=st.booleans(),
        concurrency=st.integers(1, 4),
        in_flight=st.sampled_from([4, 12, 10_000]),
        queue=st.sampled_from([2, 100_000]),
        commit_after=st.sampled_from([1, 10_000, 10_000]),
        interval=st.sampled_from(["100ms", "2s"]),
        members=st.integers(1, 2),
    )
    def begin(
        self,
        dead_letters: bool,  # noqa: FBT001 - hypothesis gives it by name
        concurrency: int,
        in_flight: int,
        queue: int,
        commit_after: int,
        interval: str,
        members: int,
    ) -> None:
        self._dead_letters, self._concurrency, self._queue = dead_letters, concurrency, queue
        self._settings = {
            "ordering": self._ordering,
            "delivery": self._delivery,
            "transaction": {"interval": interval, "messages": commit_after, "timeout": "5s"},
            "in_flight": {"messages": in_flight},
            "commit": {"messages": commit_after},
            "revoke_timeout": "2s",
            "drain_timeout": "2s",
            "retry": {
                "attempts": FAILURES + 1,
                "backoff": {"initial": WAIT, "multiplier": 1, "jitter": 0},
                "give_up_on": ["ValueError"],
            },
            **({"dead_letter": "dlq"} if dead_letters else {"on_error": "skip"}),
        }
        for _ in range(members):
            self.join()
        self.step(0, 1, [])

    @rule(
        source=sources,
        messages=st.lists(
            st.tuples(keys, st.integers(-1, 2), st.sampled_from([0, 0, 0, 1, FAILURES])),
            min_size=1,
            max_size=9,
        ),
    )
    def produce(
        self, source: TopicPartition, messages: list[tuple[bytes | None, int, int]]
    ) -> None:
        for key, results, failures in messages:
            partition = source.partition
            place = partition, self._broker.log(source).end
            value = json.dumps({"place": place, "results": results}).encode()
            self._broker.append("source", value, key, partition=partition)
            self._results[place] = results
            self._left[place] = failures
            self._lanes.setdefault(self._lane(*place, key), []).append(place)
            if key is None:
                self._keyless.add(place)

    def _give_work(self) -> None:
        for source in SOURCES:
            self.produce(source, [(b"a", 1, 0), (None, 2, 0), (b"b", 1, 0)])

    @rule(source=sources, count=st.integers(1, 3))
    def leave_a_gap(self, source: TopicPartition, count: int) -> None:
        self._broker.append_gap(source, count)

    @rule(source=sources)
    def abort(self, source: TopicPartition) -> None:
        self._broker.append_aborted(source, b"{}")

    @precondition(lambda self: self._exactly_once and self._dead_letters and self._results)
    @rule(which=st.integers(0, 100))
    def refuse_results(self, which: int) -> None:
        """Let brokers refuse the results of a message for good, unless they have them."""
        places = sorted(self._results)
        self._refused.add(places[which % len(places)])

    @precondition(lambda self: self._members and self._dead_letters and not self._exactly_once)
    @rule(who=any_of_them, messages=st.integers(1, 3))
    def refuse_records(self, who: int, messages: int) -> None:
        self._deliveries_fail()
        self._member(who).producer.fail_next("MSG_SIZE_TOO_LARGE: it is", times=messages)

    def _make_member(self) -> Member:
        member = Member(self._handler(), self._settings, self._broker, self._queue, PARTITIONS)
        member.pool.size = self._concurrency
        member.pool.on_submit = partial(self._submitted, member)
        member.pool.on_handled = self._handled_one
        member.refuses = self._is_refused
        return member

    def _is_refused(self, record: Encoded) -> bool:
        return record.topic == "target" and _place_of(record.value) in self._refused

    def _falls_silent(self, member: Member) -> None:
        committed = self._broker.group(GROUP).committed
        for source in member.runner.partitions.keys() & committed.keys():
            commit = committed[source]
            suspect = envelope.note_of(commit.metadata, commit.offset).suspect
            if suspect is not None:
                self._ends_alone[source.partition, suspect] += 1

    # --- what must hold ---

    @invariant()
    def no_commit_passes_over_a_message_that_is_not_finished(self) -> None:
        for source, commit in self._broker.group(GROUP).committed.items():
            finished = envelope.decode(commit.metadata, commit.offset)
            assert finished is not None
            assert len(commit.metadata) <= envelope.BUDGET
            here = {place for place in self._results if place[0] == source.partition}
            below = {place for place in here if place[1] < commit.offset}
            above = {place for place in here if any(a <= place[1] < b for a, b in finished)}
            assert below | above <= self._finished(), f"{source} was committed at {commit}"
            if self._exactly_once:
                seen = {place for place in self._seen() if place[0] == source.partition}
                assert seen <= below | above, f"{source} was committed at {commit}"
            self._covered |= below
            if not self._deliveries_failed:  # after which what is above is done again
                self._covered |= above

    @invariant()
    def each_result_is_there_once_or_one_dead_letter(self) -> None:
        if self._exactly_once:
            results = Counter((place, part) for place, part, _ in self._written())
            letters = Counter(_place_of(record.value) for record in self._records("dlq"))
            assert {*results.values(), *letters.values()} <= {1}
            assert letters.keys().isdisjoint(place for place, _ in results)

    @invariant()
    def what_a_pipeline_holds_is_what_its_partitions_hold(self) -> None:
        for member in self._members:
            runner = member.runner
            held = list(runner.partitions.values())
            assert runner.failed is None
            assert runner.pressure.messages == sum(one.in_flight for one in held)
            assert runner.pressure.bytes == sum(one.size for one in held)
            assert all(one.in_flight >= 0 and one.size >= 0 for one in held)

    def _deliveries_fail(self) -> None:
        if self._exactly_once:  # what is finished stays so
            return
        self._deliveries_failed = True
        committed = self._broker.group(GROUP).committed
        starts = {source.partition: commit.offset for source, commit in committed.items()}
        self._covered = {place for place in self._covered if place[1] < starts[place[0]]}

    def _submitted(self, member: Member, run: Run) -> None:
        """No lane is at work twice, and nothing that is known to be finished once more.

        Not for an earlier assignment of its partition either, or a rewind.
        """
        out = [
            one
            for one in member.pool.out
            if one.partition is run.partition
            or (self._ordering != "none" and one.partition.source == run.partition.source)
        ]
        lanes = [self._lane_of(m) for one in out for m in one.messages]
        new = {self._lane_of(message) for message in run.messages}
        assert new.isdisjoint(lanes), "two runs of a lane at a time"
        assert self._ordering == "partition" or len(new) == len(run.messages)
        for place in map(_place, run.messages):
            assert self._due.pop((run.partition, place), 0.0) <= self._now, "tried again too early"
        if not member.expired:
            again = self._covered.intersection(map(_place, run.messages))
            assert not again, "finished, committed, and handled again"
            assert not any(map(self._is_passed, run.messages)), "a later one of its lane is through"

    def _is_passed(self, message: RawMessage) -> bool:
        """Whether a later message of its lane is known to be finished.

        The message would be the last of its lane to be handled, and its result the last.
        """
        lane = self._lanes[self._lane_of(message)]
        return not self._covered.isdisjoint(lane[lane.index(_place(message)) + 1 :])

    def _handled_one(self, run: Run, outcome: Outcome) -> None:
        """The first outcomes of a lane's messages are in order, the last attempts counted."""
        (message,) = run.messages
        lane, place = self._lanes[self._lane_of(message)], _place(message)
        assert self._handled.issuperset(lane[: lane.index(place)]), f"{place} is too early"
        if isinstance(outcome, Failed) and outcome.again:
            self._due[run.partition, place] = self._now + WAIT
        else:
            self._handled.add(place)

    def teardown(self) -> None:
        if sys.exc_info()[0] is None and self._members + self._killed:
            self._let_everything_go(ROUNDS + (FAILURES + 2) * len(self._results))
            self.no_commit_passes_over_a_message_that_is_not_finished()
            self.what_a_pipeline_holds_is_what_its_partitions_hold()
            assert self._finished() == self._results.keys()
            assert not self._exactly_once or self._given_up(b"too_large") <= self._refused
            assert self._given_up(b"crash") <= {
                place for place, ends in self._ends_alone.items() if ends >= crashes.TRIES
            }
            assert self._deliveries_failed or self._results_are_in_order()

    def _is_through(self) -> bool:
        committed = self._broker.group(GROUP).committed
        return (
            all(
                source in committed and committed[source].offset == self._broker.log(source).end
                for source in SOURCES
            )
            and self._holds_nothing()
        )

    # --- what is known ---

    def _lane(self, partition: int, offset: int, key: bytes | None) -> object:
        match self._ordering:
            case "partition":
                return partition
            case "key" if key is not None:
                return partition, key
            case _:
                return partition, offset

    def _lane_of(self, message: RawMessage) -> object:
        return self._lane(message.partition(), message.offset(), message.key())

    def _finished(self) -> set[Place]:
        """Messages with all of their results, with a dead letter, or handled and without either."""
        written: dict[Place, set[int]] = {}
        for place, part, _ in self._written():
            written.setdefault(place, set()).add(part)
        given_up = {_place_of(record.value) for record in self._records("dlq")}
        silent = (-1, 0) if not self._dead_letters else (0,)
        return {
            place
            for place, results in self._results.items()
            if place in given_up
            or (place in self._handled if results in silent else 0)
            or (results > 0 and len(written.get(place, ())) == results)
        }

    def _seen(self) -> set[Place]:
        """Messages of which there is a result or a dead letter."""
        letters = {_place_of(record.value) for record in self._records("dlq")}
        return letters | {place for place, _, _ in self._written()}

    def _given_up(self, reason: bytes) -> set[Place]:
        return {
            _place_of(record.value)
            for record in self._records("dlq")
            if dict(record.headers)["dlq.reason"] == reason
        }

    def _written(self) -> list[tuple[Place, int, int]]:
        """Of each result its message, which of its results it is, and the partition it is in."""
        return [
            (_place_of(record.value), json.loads(record.value or b"")["part"], record.partition)
            for record in self._records("target")
        ]

    def _results_are_in_order(self) -> bool:
        """Whether those of a lane are in each partition of the target; the first of each counts.

        Not those without a key: done again, they may be in another partition.
        """
        seen: dict[object, dict[Place, None]] = {}
        lanes = {place: lane for lane, places in self._lanes.items() for place in places}
        for place, part, partition in self._written():
            if place in self._keyless:
                continue
            seen.setdefault((lanes[place], part, partition), {}).setdefault(place)
        return all(list(places) == sorted(places) for places in seen.values())


def _place(message: RawMessage) -> Place:
    return message.partition(), message.offset()


def _place_of(value: bytes | None) -> Place:
    partition, offset = json.loads(value or b"")["place"]
    return partition, offset


@in_each_ordering
@in_each_delivery
def test_whatever_happens_nothing_is_lost_out_of_order_or_done_again(
    delivery: str, ordering: str
) -> None:
    check(partial(Histories, ordering, delivery), examples=EXAMPLES[delivery], steps=60)


@pytest.mark.long
@pytest.mark.timeout(600)
@in_each_ordering
@in_each_delivery
def test_nor_in_any_of_many_more_histories(delivery: str, ordering: str) -> None:
    check(partial(Histories, ordering, delivery), examples=2_000, steps=60)
