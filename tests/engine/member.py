"""A member of a group whose test chooses when runs come back, and how much of them is handled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.engine.rig import HeldPool, Rig
from worker.engine.partition import Finished, Run
from worker.testing import ManualClock
from worker.testing.memory.cluster import Cluster
from worker.testing.memory.transactional import MemoryTransactional
from worker.types import Encoded, Failed, Outcome

Choice = tuple[int, int]
"""The place of a run among those that handlers have begun, and how many messages it handles."""


class ChosenPool(HeldPool):
    """Handles what the test says has come back.

    Handlers have begun with the first `size` runs; one more may wait. While runs are waited for,
    time passes and those of `meanwhile` come back.
    """

    def __init__(self, execute: Callable[[Run], list[Outcome]], clock: ManualClock) -> None:
        super().__init__(execute)
        self._clock = clock
        self._back: list[tuple[Run, int]] = []
        self.meanwhile: list[Choice] = []
        self.on_submit: Callable[[Run], object] = lambda _run: None
        self.on_handled: Callable[[Run, Outcome], object] = lambda _run, _outcome: None

    @property
    def out(self) -> Sequence[Run]:
        """Runs that have not come back."""
        return [*self.runs, *(run for run, _ in self._back)]

    @property
    def begun(self) -> Sequence[Run]:
        return self.runs[: self.size]

    @property
    def outstanding(self) -> int:
        return len(self.runs) + len(self._back)

    @property
    def saturated(self) -> bool:
        return len(self.runs) > self.size

    def submit(self, run: Run) -> None:
        self.on_submit(run)
        self.runs.append(run)

    def finish(self, choice: Choice) -> None:
        """Let a run come back that a handler has begun with."""
        place, messages = choice
        if self.runs:
            run = self.runs.pop(place % len(self.begun))
            self._back.append((run, messages))

    def collect(self, timeout: float) -> list[Finished]:
        if timeout and not self._back:
            self._clock.advance(timeout)
            if self.meanwhile:
                self.finish(self.meanwhile.pop())
        back, self._back = self._back, []
        return [Finished(run, self._handle(run, messages)) for run, messages in back]

    def recall(self) -> list[Run]:
        waiting = self.runs[self.size :]
        del self.runs[self.size :]
        return waiting

    def close(self) -> None:
        self.runs.clear()
        self._back.clear()

    def _handle(self, run: Run, messages: int) -> list[Outcome]:
        """One after the other: how far a run gets must not hang on how fast the machine is."""
        outcomes = []
        for message in run.messages[:messages]:
            one = Run(run.partition, [message])
            (outcome,) = self._execute(one)
            outcomes.append(outcome)
            self.on_handled(one, outcome)
            if isinstance(outcome, Failed) and outcome.again:
                break
        return outcomes


class PatientProducer(MemoryTransactional):
    """A producer of transactions: time passes while it waits, and its broker refuses some records.

    It refuses them again and again, as it does those that are too large.
    """

    def __init__(
        self, cluster: Cluster, queue: int, identity: str, timeout: float, member: Member
    ) -> None:
        super().__init__(cluster, queue, identity, timeout)
        self._member = member

    def poll(self, timeout: float) -> int:
        served = super().poll(timeout)
        if timeout and not served:
            self._member.clock.advance(timeout)
        return served

    def _refusal(self, record: Encoded) -> str | None:
        if self._member.refuses(record):
            return "MSG_SIZE_TOO_LARGE: it is"
        return super()._refusal(record)


class Member(Rig):
    """One of several members: rigs that share a broker are in one group."""

    pool: ChosenPool
    refuses: Callable[[Encoded], bool] = staticmethod(lambda _record: False)
    """Whether the broker refuses a record of a transaction."""

    def _make_pool(self) -> ChosenPool:
        return ChosenPool(self.executor.execute, self.clock)

    def _make_transactional(self, *, alone: bool) -> MemoryTransactional:  # noqa: ARG002
        timeout = self._job.settings.transaction.timeout
        self.producer = producer = PatientProducer(
            self.broker, self.queue, self.identity, timeout, self
        )
        self.broker.transactionals.append(producer)
        return producer

    @property
    def expired(self) -> bool:
        """Whether the group has taken it for dead; it learns of that with its next poll."""
        member = self.consumer._member
        return member is None or member.expired

    def expire(self) -> None:
        """Have the group take it for dead unless it has."""
        if not self.expired:
            self.consumer.expire()
