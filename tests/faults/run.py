"""What a run has left, as plain values: what the judge looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tests.faults.ledger import Fate
from tests.faults.plan import Planned
from tests.faults.watch import Progress, Sample

Promise = Literal["exactly_once", "at_least_once"]
Leaves = Literal["nothing", "repeats", "stragglers"]
"""Nothing; results that come again, and all behind them too; or besides late ones, of a worker that
others have replaced, or of a producer that goes on with records behind one that has timed out."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A message of the input as the log has it."""

    planned: Planned
    partition: int
    offset: int
    times: int = 1
    """How often it is there. The client's idempotent producer may write again what it has no answer
    about, once it has lost so much that it goes on with another epoch."""


@dataclass(frozen=True, slots=True)
class Result:
    """A result as the log has it."""

    id: int
    slot: int
    key: str
    number: int
    by: str
    """The worker that made it, as `a.0`."""
    partition: int
    offset: int
    at: float
    """When it was written, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter."""

    id: int
    reason: str
    at: float


@dataclass(frozen=True)
class Outcome:
    """What a pipeline has left, for those who read what is committed."""

    promise: Promise
    results: Sequence[Result]
    """By partition and offset."""
    letters: Sequence[Letter]
    open: Sequence[str] = ()
    """Partitions of its topics in which a transaction is open."""


@dataclass(frozen=True)
class Phase:
    """A fault, from its beginning until everything has recovered from it; in seconds since 1970."""

    scenario: str
    began: float
    healed: float
    progressed: float | None
    """When a group has committed more; None when that was waited for in vain."""
    recovered: float | None
    """When the groups were through with all that was there as it was healed."""
    felt: str | None
    """What shows that the fault was there; None when nothing does."""
    leaves: Leaves
    """What it may leave behind where messages may be handled again."""
    bound: float
    """Seconds that recovery is to take at most on a machine of its own."""


@dataclass(frozen=True)
class Exit:
    """How a worker has ended, or that it has not."""

    name: str
    code: int | None
    expected: int | None


@dataclass(frozen=True)
class Limits:
    """What workers may use, and how much of a run there has to be for it to say something."""

    rss: int = 512 << 20
    """Bytes of a worker."""
    slope: float | None = None
    """Bytes per hour by which a worker may grow after the first quarter; None in short runs."""
    lasts: float = 600.0
    """Seconds that a worker has to be looked at for its slope to say anything."""
    files: int = 24
    """File descriptors that a worker may have in the end, more than usual in its first half."""
    threads: int = 8
    """Likewise threads."""
    client_files: int = 28
    """Files that a client has which is still to come back from a fault: see `lingers`."""
    client_threads: int = 16
    """Likewise threads."""
    lingers: float = 60.0
    """Seconds after a fault within which a client that it has hung comes back."""
    messages: int = 2_000
    """Messages of the input at least, whatever the rate."""
    share: float = 0.5
    """Part of the messages that the rate would have made, which there have to be at least."""
    uncommitted: float = 15.0
    """Seconds beside those of a fault whose results may come again: since the last commit before
    it, and until members that it has hit have lost their partitions."""


@dataclass(frozen=True)
class Run:
    """A run whose faults are healed, and whose workers are drained."""

    fates: Mapping[int, Fate]
    inputs: Mapping[int, Stored]
    outcomes: Mapping[str, Outcome]
    progress: Sequence[Progress]
    samples: Sequence[Sample]
    exits: Sequence[Exit]
    phases: Sequence[Phase]
    rate: float = 1_000.0
    """Messages a second that were to be written."""
    wanted: int = 0
    """How many that makes."""
    unexpected: Sequence[str] = ()
    """Lines of logs that nobody expects, of workers and brokers."""
    stuck: Sequence[str] = ()
    """What did not come back, and was waited for in vain."""
    broken: Sequence[str] = ()
    """What has failed of the harness itself."""
    is_read: bool = True
    """Whether everything could be read back."""
    limits: Limits = field(default_factory=Limits)
