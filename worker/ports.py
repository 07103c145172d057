"""What the engine asks of the outside world; the docstrings are the law that every adapter keeps.

`worker.kafka` and `worker.testing.memory` implement these, and one contract suite passes on both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from datetime import datetime
from types import TracebackType
from typing import Final, Literal, NewType, Protocol

from worker.errors import ClientError
from worker.settings import Pipeline
from worker.types import (
    ClientTotals,
    Commit,
    Encoded,
    Failure,
    Fetch,
    Headers,
    Isolation,
    Outcome,
    RawMessage,
    TopicInfo,
    TopicPartition,
    headers_of,
)

Offsets = Mapping[TopicPartition, int]
"""Per partition the offset of the next message to be read, as Kafka commits them."""

Commits = Mapping[TopicPartition, Commit]
"""Per partition what is to be committed, or was."""

METADATA_TOO_LARGE: Final = "OFFSET_METADATA_TOO_LARGE"
"""Part of the error of a commit whose metadata is longer than the broker takes."""

Membership = NewType("Membership", object)
"""A member and its place in its group at a moment, as `Transactional.commit` takes it."""

Place = Literal["oldest", "newest"] | datetime
"""A place in a partition: its first message, its end, or the first message at or after a time."""

OnStored = Callable[[int], None]
"""Called with how many records all in-sync replicas have."""
OnFailed = Callable[[ClientError], None]
"""Called with the error of a record that is not stored, which names its topic.

Both are called in `Producer.poll` or `close`, in the caller's thread.
"""


class Rebalance(Protocol):
    """Who is told of changes of a group; called inside `Consumer.poll` and `close` only."""

    def admitted(self) -> None:
        """The group has let this member in; told before it is asked what is committed.

        So before each `assigned`, and never of one that was refused.
        """

    def assigned(self, committed: Mapping[TopicPartition, Commit | None]) -> Offsets:
        """Take partitions over: what is committed comes in, the offsets to start at go out."""

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Give partitions back: they are still ours until this returns, so commits work."""

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """Forget partitions that another member may own already: nothing may be committed."""

    def offset_lost(self, partition: TopicPartition) -> None:
        """The position is outside the log: nothing more arrives until `Consumer.seek`.

        Found by reading there, so of a paused partition it is told once that is resumed.
        """

    def committed(self, commits: Commits, error: str | None) -> None:
        """An asynchronous commit has ended, in vain where there is an error."""


class Consumer(Protocol):
    """A member of a consumer group; it belongs to one thread at a time.

    Messages of a partition come in offset order and are never returned after it was revoked, lost,
    paused or sought elsewhere. No message is lost to an error: `poll` returns what it has first.
    Raises `ClientFatal` or `Fenced` where only a new consumer can go on; what passes by itself
    (brokers away, a coordinator that moves) is logged, kept in `last_error` and not raised.
    """

    @property
    def last_error(self) -> str | None:
        """The last error that the client reported."""

    @property
    def connected(self) -> bool:
        """Whether at least one broker is connected."""

    @property
    def joined(self) -> bool:
        """Whether the group has this member, be it without partitions."""

    @property
    def coordinated(self) -> bool:
        """Whether the group's coordinator is connected, as of about a second ago."""

    @property
    def denied(self) -> str | None:
        """What the cluster does not let this user do, until it is known to be allowed again."""

    @property
    def missing(self) -> Sequence[str]:
        """Subscribed topics that the cluster does not have, as far as was told; no patterns."""

    @property
    def unmatched(self) -> Sequence[str]:
        """Subscribed patterns that no topic matches, as far as was asked."""

    def totals(self) -> ClientTotals:
        """The client's own statistics as of about a second ago."""

    def subscribe(self, topics: Sequence[str], rebalance: Rebalance) -> None:
        """Join the group for these topics, and for those that match one of the patterns.

        A pattern begins with `^`, and a whole name has to match it (see `settings.patterns`);
        topics that come later are found, those of Kafka itself are left out.
        """

    def poll(self, limit: int, timeout: float) -> list[Fetch]:
        """Wait up to `timeout` seconds for a message, then take what is there, `limit` at most.

        May raise `ClientFatal` once a topic that it has read was missing and is there again.
        """

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Stop fetching from partitions that are assigned, until they are given back."""

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """Fetch from paused partitions again, from the message after the last one returned."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Return messages of an assigned partition from `offset` on; a pause goes on."""

    def assign_again(self, partition: TopicPartition, offset: int) -> None:
        """Fetch a partition of the assignment as if it were new, from `offset` on, not paused.

        Also one that the client has lost from its assignment. The group does not hear of it.
        """

    def find(self, partitions: Sequence[TopicPartition], place: Place) -> Offsets:
        """Ask the cluster which offsets a place has; raises `ClientError` when it does not say."""

    def group_offsets(self) -> Mapping[TopicPartition, Commit | None]:
        """Ask what the group has committed, None for nothing, in all partitions of its topics.

        Those of the topics subscribed to, whoever has them; raises `ClientError` without an answer.
        """

    def committed(
        self, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, Commit | None]:
        """Ask what the group has committed in these partitions, None for nothing, whoever has them.

        Asked once: raises `ClientError` without an answer within about two seconds.
        """

    def ends(self, partitions: Sequence[TopicPartition]) -> Offsets:
        """Where partitions end for a reader of this isolation, as of its last fetch from each.

        Not asked of the cluster; what is not known is left out.
        """

    def fetched(self, partitions: Sequence[TopicPartition]) -> Offsets:
        """Up to where the client has fetched, as of about a second ago, as far as it says so.

        Behind control records and aborted messages, too: at the end there is nothing in front.
        """

    def positions(self, partitions: Sequence[TopicPartition]) -> Offsets:
        """Where partitions are read on: behind the last message returned and control records.

        What is not known is left out, such as where a seek leads until a message has come from
        there. Not for use inside `Rebalance`: a message may be on its way out of `poll`.
        """

    def commit(self, commits: Commits, *, wait: bool) -> None:
        """Commit; with `wait` raises `CommitFailed`, else the result reaches `committed`.

        A partition that is refused for itself, as for a note that is too long, keeps the others
        from nothing: these are committed. To commit nothing never fails.
        """

    def membership(self) -> Membership:
        """Who this member is to its group just now; what is older than a rebalance may be refused.

        Whether the group still has it so is known only from an answer: a `commit` with `wait` of
        what is committed anyway succeeds for a member whose assignment is current, and no other.
        """

    def close(self) -> None:
        """Leave the group after `revoked` has been told; idempotent."""


class Producer(Protocol):
    """An idempotent producer with `acks=all`; records to one partition stay in the order sent."""

    def send(self, records: Sequence[Encoded], on_stored: OnStored, on_failed: OnFailed) -> int:
        """Queue records in order, of which `poll` and `close` tell together.

        `on_stored` is called once, when all that this call has queued are acknowledged; `on_failed`
        for each that is not, and then `on_stored` never.

        Returns how many are queued: those in front of the first that is not. Why that one is not is
        raised when it is first in a call: `QueueFull` when the queue is full, `ClientFatal` when
        only a new producer can go on, and `ClientError` when the record cannot be queued.
        """

    def refusal(self, error: object) -> Failure | None:
        """What a message dies of whose record met this error; None where another record could too.

        Asked of what `send` has raised and of what `on_failed` was told. Records that share a
        batch may share an error that is about one of them: it is sure of a record sent alone.
        """

    def poll(self, timeout: float) -> int:
        """Serve delivery reports for up to `timeout` seconds; 0 when there were none."""

    def totals(self) -> ClientTotals:
        """The client's own statistics as of about a second ago."""

    def close(self, timeout: float) -> None:
        """Drop what is not delivered after `timeout` seconds; idempotent."""


class Transactional(Producer, Protocol):
    """A producer whose records are visible together with a group's offsets, or not at all.

    It belongs to one thread at a time and has an identity, which one producer at a time can have.
    `take_over` once; then, again and again, `begin`, any number of `send`, and `commit` or `abort`.
    How to go on is said by the error that a method raises:

    * `TransactionFailed`: nothing of this transaction counts. `abort` and begin anew; a consumer is
      not taken back by this, so it has to seek.
    * `ClientFatal`: only a new producer can go on, which with `take_over` ends what this one has
      left open. What has become of a transaction that was to be committed is known only then, from
      what `Consumer.committed` says.
    * `Fenced`: a producer of the same identity has taken over, or the transaction was open for
      longer than its time-out. In the second case a new producer can go on, as above; it is the
      second where `Consumer.membership` proves to be current.

    The last two are raised by every later `begin`, `send`, `commit` and `abort` as well. A record
    that is reported as failed fails its transaction; one that `send` refuses does not.
    """

    def take_over(self, timeout: float) -> None:
        """Take the identity over, and abort or complete what was begun under it, before all else.

        Raises a `ClientError` that is `retriable` without an answer in time; then call it again.
        """

    def begin(self) -> None:
        """Begin a transaction; if the end of the last one took long, that may take some seconds.

        Raises `ClientFatal`, too, where it could suffer from how the last one has ended; that it
        was committed, or aborted, remains true.
        """

    def commit(self, commits: Commits, membership: Membership | None, timeout: float) -> None:
        """Commit, and with it offsets of the group and their metadata, within `timeout` seconds.

        `membership` is that of the consumer as of now; with no `commits` there may be none. It has
        committed when it returns; all records were reported by then.
        """

    def abort(self, timeout: float) -> None:
        """Drop the transaction within `timeout` seconds; does nothing where none is open.

        Records that are not in their logs yet are reported as failed.
        """

    def close(self, timeout: float) -> None:
        """Abort what is open, if that is possible within `timeout` seconds; idempotent."""


class Table(Protocol):
    """A reader of compacted topics, in no group; it belongs to one thread at a time.

    Made without a word to the cluster, and usable inside `Rebalance`. It reads what is committed.
    """

    def read(self, partitions: Sequence[TopicPartition]) -> Sequence[RawMessage]:
        """What was written since the last read of each partition, up to the end of this moment.

        From the beginning the first time, and where a log ends in front of what was read; the
        records of a partition are in order. Raises `ClientError` when the cluster does not answer:
        then nothing counts as read.
        """

    def ends(self, partitions: Sequence[TopicPartition]) -> Offsets:
        """The ends of partitions of any topics, behind what is in open transactions, too.

        Raises `ClientError` when the cluster is silent. A consumer of the engine would answer
        behind the fetch that waits for messages.
        """

    def position(self, partition: TopicPartition) -> int:
        """Up to where a partition was read: no further than to a transaction that is open."""

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Read these partitions from the beginning the next time."""

    def close(self) -> None:
        """Let go of the connections; idempotent."""


class Admin(Protocol):
    """The cluster as an operator sees it; raises `BrokersUnreachable` when no broker answers."""

    def names(self) -> Sequence[str]:
        """Every topic of the cluster, as far as this user may know."""

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        """What the cluster knows of these topics; topics that do not exist are left out."""

    def create(self, topics: Mapping[str, NewTopic]) -> None:
        """Make topics and wait until they can be seen; one that exists already is left as it is.

        Raises `TopicsRefused`, which says of each topic why.
        """

    def uncommitted(self, group: str, topics: Sequence[str]) -> Mapping[str, int]:
        """How many records of each topic a group has not committed, without joining it.

        At most: of the offsets in between some may have none. Counted are those that are kept and
        of no open transaction; topics that do not exist are left out. Raises `ClientError`.
        """

    def allowed(self, groups: Iterable[str]) -> Mapping[str, frozenset[str]]:
        """What this user may do with groups, such as `READ`, as far as the cluster says it.

        Raises nothing: a group whose coordinator is away is left out.
        """

    def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Offsets:
        """Where partitions end for a reader of this isolation.

        With `read_committed` that is in front of the first transaction that is open. Those of
        which the cluster does not say it are left out, as those of a topic that is gone.
        """

    def close(self) -> None:
        """Let go of the connections; idempotent."""


class ClientSupplier(Protocol):
    """Makes the clients of one process, for pipelines of one spec.

    Raises `ConnectionFailed` where no client can be made of the settings. `limits` has the
    `max.message.bytes` of the topics that are written to.
    """

    def admin(self, timeout: float) -> Admin:
        """Make one that waits so many seconds for an answer."""

    def consumer(self, group: str, pipeline: Pipeline) -> Consumer:
        """Make a member of a group, which joins when it subscribes."""

    def producer(self, limits: Mapping[str, int], *, alone: bool) -> Producer:
        """Make one; with `alone` it sends each record in a batch of its own."""

    def transactional(
        self, group: str, pipeline: Pipeline, limits: Mapping[str, int], *, alone: bool
    ) -> Transactional:
        """Make the same with the identity that the pipeline has in this process."""

    def table(self, group: str) -> Table:
        """Make a reader of compacted topics for the members of a group."""

    def require_fencing(self, timeout: float) -> None:
        """Raise `ClientError` unless offsets in a transaction are refused to former members."""

    def has_owner(self, group: str, pipeline: Pipeline, timeout: float) -> bool:
        """Whether a member of a group has the pipeline's `instance`; raises `ClientError`."""


class NewTopic(Protocol):
    """How a topic is to be made; None means the broker's default. `settings.Topic` is one."""

    @property
    def partitions(self) -> int | None: ...
    @property
    def replication(self) -> int | None: ...
    @property
    def config(self) -> Mapping[str, object]: ...


class Clock:
    """Time as the engine sees it."""

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Do nothing for so long."""
        time.sleep(seconds)


class AtHand(Protocol):
    """Messages that a handler takes one after the other."""

    @property
    def messages(self) -> Sequence[RawMessage]: ...
    @property
    def found(self) -> Sequence[object]:
        """What the first of them resulted in; the handler is at the next one."""


AT_HAND: Final[ContextVar[tuple[str, AtHand | None] | None]] = ContextVar("at_hand", default=None)
"""The pipeline that is at work here, and what its handler has: so log lines say where they are.

It is set once for a run; which message is at hand is only asked when a line is logged.
"""


class Attempt(Protocol):
    """A call of a handler that is watched: it begins and ends with the `with` block."""

    @property
    def contexts(self) -> Mapping[int, Headers]:
        """By offsets of those of its messages that are followed, what their records carry.

        By these headers records are known to come of a message; once it has begun.
        """

    def __enter__(self) -> None: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Take note of what has come of it, inside the block."""


class Sends(Protocol):
    """Records that are followed on their way; let go of untold, they count as not stored."""

    def stored(self) -> None:
        """Take note that all in-sync replicas have them."""


NOTHING: Final = nullcontext()
"""A context in which nothing is different."""


class Observer:
    """Who watches the engine; each method does nothing and subclasses override what they need."""

    follows: bool = False
    """Whether any message may be followed; what is below `added` is not called otherwise."""

    def headers_for(self, raw: RawMessage, record: Encoded) -> Headers:
        """The headers of a result of a message: those of its own, and what is added."""
        return record.headers

    def unwatched(self, raw: RawMessage, failure: Failure) -> dict[int, Headers]:
        """Follow a failure of which no call can tell, as its process has ended: the contexts."""
        return {}

    def added(self, raws: Sequence[RawMessage]) -> Sequence[Headers]:
        """The same for results of these messages that have no headers; nothing where all are empty.

        For `raws` of one class, at least one.
        """
        return ()

    def attempts(self, source: TopicPartition, raws: Sequence[RawMessage]) -> Mapping[int, Attempt]:
        """By their places, calls of a handler for one message each that are to be watched."""
        return {}

    def batch(self, source: TopicPartition, raws: Sequence[RawMessage]) -> Attempt | None:
        """The same for one call for all of these."""
        return None

    def around(self) -> AbstractContextManager[None]:
        """What the calls of a run are made in, for those of them that are not watched."""
        return NOTHING

    def remember(self, source: TopicPartition, contexts: Mapping[int, Headers]) -> None:
        """Keep, by offsets, what `Attempt.contexts` said; in one thread at a time."""

    def remembered(
        self, source: TopicPartition, raws: Sequence[RawMessage]
    ) -> Mapping[int, Headers]:
        """What is kept of those that are tried again."""
        return {}

    def tried_again(self, raw: RawMessage) -> None:
        """Take note that a message is tried again where it is."""

    def again(self, source: TopicPartition, contexts: Mapping[int, Headers]) -> None:
        """Take over, from another process, what is kept of those that are tried again."""

    def headers_moved(self, raw: RawMessage) -> Headers:
        """The headers that a message keeps in its dead letter or retry record."""
        return headers_of(raw) or ()

    def sending(self, records: Sequence[Encoded]) -> Sends | None:
        """Follow those records that come of messages which are remembered, by their headers."""
        return None
