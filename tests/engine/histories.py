"""Members of one group, and all that can happen to any of them: what histories are made of."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

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
from worker.testing import ManualClock, MemoryBroker

MEMBERS = 3
WHOLE = sys.maxsize
PHASES = set(Phase) - {Phase.explain}
"""To explain takes minutes, and says little of a machine."""

any_of_them = st.integers(0, 7)
choices = st.tuples(any_of_them, st.sampled_from([1, 2, WHOLE]))
comings = st.lists(choices, min_size=1, max_size=6)

some_work = precondition(lambda self: self._members)
"""Of a rule: members are there."""
trouble = precondition(lambda self: self._members and self._may_be_troubled)
"""Of a rule after which messages may come again."""


class GroupHistories(RuleBasedStateMachine):
    """Members that come, work and go in whatever way; heirs say what they do and what must hold."""

    def __init__(self) -> None:
        super().__init__()
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

    # --- what happens ---

    @some_work
    @rule(who=any_of_them, times=st.integers(1, 4), meanwhile=comings)
    def step(self, who: int, times: int, meanwhile: list[Choice]) -> None:
        member = self._member(who)
        member.pool.meanwhile = meanwhile
        for _ in range(times):
            member.runner.step()
        member.pool.meanwhile = []

    @rule(back=comings)
    def go_on(self, back: list[Choice]) -> None:
        """Let every member work for a while, and time pass for a commit."""
        for place, choice in enumerate(back):
            for member in self._members:
                member.runner.step()
            if self._members:
                self._member(place).pool.finish(choice)
        self.let_time_pass(1.0)
        for who in range(len(self._members)):
            self.step(who, 2, [])

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
        self._broker.producers[which % len(self._broker.producers)].release()

    @rule(seconds=st.sampled_from([0.5, 1.0, 60.0]))
    def let_time_pass(self, seconds: float) -> None:
        assert isinstance(self._broker.clock, ManualClock)
        self._broker.clock.advance(seconds)

    @trouble
    @rule(who=any_of_them)
    def refuse_a_commit(self, who: int) -> None:
        self._trouble()
        self._member(who).consumer.fail_commits()

    @precondition(lambda self: len(self._members) < MEMBERS)
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
        self._falls_silent(member)
        self._members.remove(member)
        member.consumer.kill()
        self._killed.append(member)

    @precondition(lambda self: self._killed)
    @rule()
    def notice_who_was_killed(self) -> None:
        self._killed.pop(0).expire()

    @trouble
    @rule(who=any_of_them)
    def restart(self, who: int) -> None:
        self.kill(who)
        self._killed.pop().expire()
        self.join()

    @trouble
    @rule(who=any_of_them)
    def take_for_dead(self, who: int) -> None:
        self._trouble()
        self._falls_silent(self._member(who))
        self._member(who).expire()

    # --- the end ---

    def _let_everything_go(self, rounds: int) -> None:
        """Let nothing bad happen any more, until all is done."""
        for producer in self._broker.producers:
            producer.release()
        while self._killed:
            self.notice_who_was_killed()
        if not self._members:
            self.join()
        for _ in range(rounds):
            if self._is_through():
                return
            self._work()
        raise AssertionError(f"not through: {self._broker.committed(GROUP)}")

    def _work(self) -> None:
        """Let all runs come back, every member take a step, and time pass."""
        for member in self._members:
            while member.pool.begun:
                member.pool.finish((0, WHOLE))
            member.runner.step()
        self.let_time_pass(1.0)

    # --- what is known ---

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
