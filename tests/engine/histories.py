"""Members of one group, and all that can happen to any of them: what histories are made of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.engine.member import Choice, Member
from tests.engine.rig import GROUP
from worker.errors import ClientError
from worker.ports import METADATA_TOO_LARGE
from worker.testing import ManualClock, MemoryBroker
from worker.testing.memory.producer import MemoryProducer
from worker.testing.memory.transactional import MemoryTransactional
from worker.types import Message

MEMBERS = 3
WHOLE = sys.maxsize
PHASES = set(Phase) - {Phase.explain}
"""To explain takes minutes, and says little of a machine."""

in_each_delivery = pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
any_of_them = st.integers(0, 7)
choices = st.tuples(any_of_them, st.sampled_from([1, 2, WHOLE]))
comings = st.lists(choices, min_size=1, max_size=6)

BAD_ENDS: Sequence[Callable[[MemoryTransactional], None]] = [
    lambda producer: producer.lose_answer(committed=True),
    lambda producer: producer.lose_answer(committed=False),
    lambda producer: producer.doubt(),
    lambda producer: producer.fail("OUT_OF_ORDER_SEQUENCE_NUMBER"),
    lambda producer: producer.shut_out(),
]

some_work = precondition(lambda self: self._members)
"""Of a rule: members are there."""
trouble = precondition(lambda self: self._members and self._may_be_troubled)
"""Of a rule after which messages may come again."""
can_join = precondition(lambda self: self._can_join)


class GroupHistories(RuleBasedStateMachine):
    """Members that come, work and go in whatever way; heirs say what they do and what must hold."""

    def __init__(self, delivery: str = "at_least_once") -> None:
        super().__init__()
        self._delivery = delivery
        self._exactly_once = delivery == "exactly_once"
        self._broker = MemoryBroker(ManualClock())
        self._members: list[Member] = []
        self._killed: list[Member] = []
        """Those that the group has not noticed yet."""
        self._may_be_troubled = True

    # --- what heirs say ---

    def _make_member(self) -> Member:
        raise NotImplementedError

    def _is_through(self) -> bool:
        """Whether all is done that there is to do."""
        raise NotImplementedError

    def _trouble(self) -> None:
        """Something is about to happen after which messages may come again."""

    def _deliveries_fail(self) -> None:
        """Records of a member are about to fail."""

    def _falls_silent(self, member: Member) -> None:
        """A member is about to be killed, or taken for dead."""

    def _give_work(self) -> None:
        """Write some messages."""
        raise NotImplementedError

    # --- what happens ---

    @some_work
    @rule(who=any_of_them, times=st.integers(1, 4), meanwhile=comings)
    def step(self, who: int, times: int, meanwhile: list[Choice]) -> None:
        member = self._member(who)
        member.pool.meanwhile = meanwhile
        for _ in range(times):
            self._step(member)
        member.pool.meanwhile = []

    @rule(back=comings)
    def go_on(self, back: list[Choice]) -> None:
        """Let every member work for a while, and time pass for a commit."""
        for place, choice in enumerate(back):
            for member in [*self._members]:
                self._step(member)
            if self._members:
                self._member(place).pool.finish(choice)
        self.let_time_pass(1.0)
        for member in [*self._members] * 2:
            self._step(member)

    @rule(back=comings)
    def come_back(self, back: list[Choice]) -> None:
        """Let runs come back of those who have any."""
        for place, choice in enumerate(back):
            busy = [member for member in self._members if member.pool.begun]
            if busy:
                busy[place % len(busy)].pool.finish(choice)

    @trouble
    @rule(who=any_of_them, messages=st.integers(1, 3))
    def time_deliveries_out(self, who: int, messages: int) -> None:
        self._trouble()
        self._deliveries_fail()
        self._member(who).producer.fail_next(times=messages)

    @trouble
    @rule(who=any_of_them, partitions=st.sampled_from([None, [0], [0, 1]]))
    def hold_acknowledgements(self, who: int, partitions: list[int] | None) -> None:
        """Let all brokers fall silent, or some, for one member."""
        self._trouble()
        self._member(who).producer.hold_deliveries(partitions)

    @rule(which=any_of_them)
    def acknowledge(self, which: int) -> None:
        """Deliver what one producer holds, be it that of a member that is long gone."""
        producers = self._producers
        if producers:
            producers[which % len(producers)].release()

    @rule(seconds=st.sampled_from([0.5, 1.0, 60.0]))
    def let_time_pass(self, seconds: float) -> None:
        assert isinstance(self._broker.clock, ManualClock)
        self._broker.clock.advance(seconds)

    @trouble
    @rule(who=any_of_them, error=st.sampled_from(["ILLEGAL_GENERATION", METADATA_TOO_LARGE]))
    def refuse_a_commit(self, who: int, error: str) -> None:
        self._trouble()
        if self._exactly_once:
            self._deliveries_fail()
            self._fill_a_transaction(self._member(who))
            self._transactional(who).fail_commits(error)
        else:
            self._member(who).consumer.fail_commits()

    @precondition(lambda self: self._exactly_once)
    @trouble
    @rule(who=any_of_them, way=st.sampled_from(BAD_ENDS))
    def end_a_transaction_badly(self, who: int, way: Callable[[MemoryTransactional], None]) -> None:
        self._trouble()
        self._deliveries_fail()
        self._fill_a_transaction(self._member(who))
        way(self._transactional(who))

    @trouble
    @precondition(lambda self: self._broker.up)
    @rule()
    def lose_the_brokers(self) -> None:
        self._trouble()
        if self._exactly_once:
            self._deliveries_fail()
        self._broker.stop()

    @precondition(lambda self: not self._broker.up)
    @rule()
    def find_the_brokers(self) -> None:
        self._broker.start()

    @can_join
    @rule()
    def join(self) -> None:
        self._members.append(self._make_member())

    @precondition(lambda self: self._members and self._broker.up)  # else its time would stand still
    @rule(who=any_of_them, meanwhile=comings)
    def leave(self, who: int, meanwhile: list[Choice]) -> None:
        member = self._member(who)
        member.pool.meanwhile = meanwhile
        member.runner.drain()
        member.runner.close()
        self._members.remove(member)

    @trouble
    @rule(who=any_of_them)
    def kill(self, who: int) -> None:
        member = self._member(who)
        self._trouble()
        if self._exactly_once:
            self._fill_a_transaction(member)
        self._falls_silent(member)
        self._members.remove(member)
        member.consumer.kill()
        self._killed.append(member)

    @precondition(lambda self: self._killed)
    @rule()
    def notice_who_was_killed(self) -> None:
        self._killed.pop(0).expire()

    @trouble
    @precondition(lambda self: self._finds_brokers)
    @rule(who=any_of_them)
    def restart(self, who: int) -> None:
        self.kill(who)
        self._killed.pop().expire()
        self.join()

    @trouble
    @rule(who=any_of_them)
    def take_for_dead(self, who: int) -> None:
        self._trouble()
        if self._exactly_once:
            self._fill_a_transaction(self._member(who))
        self._falls_silent(self._member(who))
        self._member(who).expire()

    # --- the end ---

    def _let_everything_go(self, rounds: int) -> None:
        """Let nothing bad happen any more, until all is done."""
        self._broker.start()
        for producer in self._producers:
            producer.release()
        while self._killed:
            self.notice_who_was_killed()
        for _ in range(rounds):
            if not self._members:
                self.join()
            if self._is_through():
                return
            self._work()
        raise AssertionError(f"not through: {self._broker.committed(GROUP)}")

    def _work(self) -> None:
        """Let all runs come back, every member take a step, and time pass."""
        for member in [*self._members]:
            while member.pool.begun:
                member.pool.finish((0, WHOLE))
            self._step(member)
        self.let_time_pass(1.0)

    def _fill_a_transaction(self, member: Member) -> None:
        """Let a member be in the middle of a transaction: trouble in front of one says little."""
        self._give_work()
        for _ in range(3):
            self._step(member)
            if member.pool.begun:
                member.pool.finish((0, WHOLE))
        self._step(member)

    def _step(self, member: Member) -> None:
        """Take a step; who cannot go on comes back with new clients, if there are brokers."""
        if member not in self._members:
            return
        try:
            member.runner.step()
        except ClientError:
            assert self._exactly_once
            try:
                member.join_again()
            except ClientError:
                self._members.remove(member)

    # --- what is known ---

    def _records(self, topic: str) -> list[Message]:
        """What is committed; readers get it later where an open transaction lies in front."""
        return [
            Message(record)
            for log in self._broker.topics[topic].logs
            for record in log.read(log.start, log.end, "read_uncommitted")
            if record.offset() not in log._aborted.union(*log._open.values())
        ]

    @property
    def _producers(self) -> list[MemoryProducer]:
        return [*self._broker.producers, *self._broker.transactionals]

    @property
    def _finds_brokers(self) -> bool:
        """Whether a member can come: one of transactions has to take its identity over."""
        return self._broker.up or not self._exactly_once

    @property
    def _can_join(self) -> bool:
        return len(self._members) < MEMBERS and self._finds_brokers

    def _transactional(self, who: int) -> MemoryTransactional:
        producer = self._member(who).producer
        assert isinstance(producer, MemoryTransactional)
        return producer

    @property
    def _now(self) -> float:
        return self._broker.clock.monotonic()

    def _member(self, who: int) -> Member:
        return self._members[who % len(self._members)]

    def _holds_nothing(self) -> bool:
        """Whether no member has a message."""
        pressures = [member.runner.pressure for member in self._members]
        return not any(one.messages or one.bytes for one in pressures)


def check(machine: Callable[[], GroupHistories], examples: int, steps: int) -> None:
    """Let so many histories of a machine pass, of so many steps at most."""
    bounds = settings(
        max_examples=examples, stateful_step_count=steps, phases=PHASES, derandomize=True
    )
    made: Any = machine  # what makes a machine does as well as its class
    run_state_machine_as_test(made, settings=bounds)
