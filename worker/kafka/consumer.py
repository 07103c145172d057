"""`ports.Consumer` on confluent-kafka."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Message as Raw
from confluent_kafka import TopicPartition as ClientPartition

from worker.errors import ClientError, ClientFatal, CommitFailed, Fenced
from worker.kafka import questions
from worker.kafka.access import Access
from worker.kafka.callbacks import Kept, weakly
from worker.kafka.config import Properties
from worker.kafka.failures import describe, failure
from worker.kafka.fencing import Fencing
from worker.kafka.logs import ClientLog, client_logger
from worker.kafka.membership import generation
from worker.kafka.partitions import (
    commits,
    committable,
    errors,
    is_nothing_to_commit,
    offsets,
    places,
    sources,
)
from worker.kafka.questions import asked
from worker.kafka.stats import Statistics
from worker.ports import Commits, Membership, Offsets, Place, Rebalance
from worker.settings.patterns import is_pattern, whole
from worker.types import ClientTotals, Commit, Fetch, RawMessage, TopicPartition, bytes_of

LEAVE_TIMEOUT: Final = 5.0
"""Seconds to leave the group in good order."""

BRIEFLY: Final = 2.0
"""Seconds to wait for what the group says while nothing else goes on."""
COMMIT_WITHIN: Final = 5.0
"""Seconds for a commit that is waited for and meets a new epoch."""
COMMIT_AGAIN_AFTER: Final = 0.05

SESSION_MS: Final = 45_000
"""The client's own `session.timeout.ms`."""

_EAGER: Final = {"range", "roundrobin"}
"""Assignors that take everything from everybody in a rebalance: the client then wants the whole
assignment each time it changes, not the difference."""
_STALE: Final = KafkaError.STALE_MEMBER_EPOCH
_OFFSET_LOST: Final = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}  # noqa: SLF001


class KafkaConsumer:
    """A member of a group, or a reader of partitions that are assigned by hand.

    Made with the properties of `config.member`; `on_error` is told of every error that the client
    reports. `close` waits for the coordinator and is known to hang now and then, so the process
    needs a deadline of its own: that of `engine/worker.py`.
    """

    def __init__(
        self, properties: Properties, on_error: Callable[[KafkaError], None] = lambda _: None
    ) -> None:
        self._properties = properties
        self._on_any_error = on_error
        self._eager = properties.get("partition.assignment.strategy") in _EAGER
        self._static = "group.instance.id" in properties
        self._starts: dict[TopicPartition, int] = {}
        reads_all = properties.get("isolation.level") == "read_uncommitted"
        self._end = "hi_offset" if reads_all else "ls_offset"
        """What the client's statistics call the end of a partition for its isolation."""
        self._statistics = Statistics()
        self._kept = Kept()
        self._log = client_logger("consumer")
        self._rebalance: Rebalance
        self._topics: Sequence[str] = ()
        self._access = Access(properties.get("group.id"))
        self._assigned: set[str] = set()
        """Topics of which the group has ever given it a partition."""
        self._last_error: str | None = None
        self._lost_in: int | None = None
        """The generation in which partitions were lost, until others are assigned."""
        self._gone: set[TopicPartition] = set()
        self._untold: set[TopicPartition] = set()
        self._sought: dict[TopicPartition, int] = {}
        """Where the client said that partitions were before a seek, which it may do for a while."""
        self._refused: list[tuple[Commits, str]] = []
        self._closed = False
        self._by_hand = False
        self._member: str | None = None
        """The id that this member had in its last assignment."""
        self._fencing: Fencing | None = None
        guard = self._kept.guard
        self._client = Client(
            {
                **properties,
                "stats_cb": guard(self._statistics.update),
                "error_cb": guard(weakly(self._on_error)),
                "on_commit": guard(weakly(self._on_commit)),
            },
            logger=ClientLog(self._log),
        )

    @property
    def last_error(self) -> str | None:
        """See `ports.Consumer`."""
        return self._last_error

    @property
    def connected(self) -> bool:
        """See `ports.Consumer`."""
        return self._statistics.connected

    @property
    def joined(self) -> bool:
        """See `ports.Consumer`; known by the generation, since of KIP-848 nothing else tells it.

        The client keeps that of a member that was taken for dead until it has joined again.
        """
        if self._closed:
            return False
        number = self._generation()
        return number > 0 and number != self._lost_in

    @property
    def coordinated(self) -> bool:
        """See `ports.Consumer`."""
        return self._statistics.coordinated

    @property
    def denied(self) -> str | None:
        """See `ports.Consumer`."""
        return self._access.denied(self.ends)

    @property
    def missing(self) -> Sequence[str]:
        """See `ports.Consumer`."""
        return sorted(self._access.missing)

    @property
    def unmatched(self) -> Sequence[str]:
        """See `ports.Consumer`; looked for every few seconds."""
        return self._access.unmatched

    @property
    def client(self) -> Client:
        """The underlying client, which belongs to the thread that polls."""
        return self._client

    def totals(self) -> ClientTotals:
        """See `ports.Consumer`."""
        return self._statistics.totals()

    def subscribe(self, topics: Sequence[str], rebalance: Rebalance) -> None:
        """See `ports.Consumer`."""
        self._rebalance = rebalance
        self._topics = topics
        self._access.subscribed(topics)
        guard = self._kept.guard
        asked(
            partial(
                self._client.subscribe,
                on_assign=guard(weakly(self._on_assign)),
                on_revoke=guard(weakly(self._on_revoke)),
                on_lost=guard(weakly(self._on_lost)),
            ),
            [whole(topic) if is_pattern(topic) else topic for topic in topics],
        )

    def assign(self, starts: Offsets, rebalance: Rebalance) -> None:
        """Read these partitions from these offsets on, in no group; only `offset_lost` is told."""
        self._rebalance = rebalance
        self._by_hand = True
        self._start(starts)

    def poll(self, limit: int, timeout: float) -> list[Fetch]:
        """See `ports.Consumer`; what the rebalance's methods raise is raised by the next poll."""
        try:
            self._kept.release()
        except Fenced as error:
            self._fencing = self._fencing or self._fenced(error)
        if self._fencing is not None:
            self._fencing.look()
        self._tell_refused()
        self._gone.clear()
        access = self._access
        is_lacking = access.missing or access.hidden or access.awaited
        if is_lacking and time.monotonic() >= access.look_due:
            self._require_never_read(access.look(self._client))
        try:
            first = self._client.poll(timeout)
        except SystemError as error:  # the client could not follow a rebalance, and lost the reason
            raise ClientFatal(f"the client failed in a rebalance: {error}") from error
        if first is None:
            return []
        raws = [first]
        if limit > 1:
            raws += self._take(limit - 1)
        return self._fetches(raws)

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """See `ports.Consumer`."""
        asked(self._client.pause, places(partitions))

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """See `ports.Consumer`."""
        asked(self._client.resume, places(partitions))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """See `ports.Consumer`; a paused partition stays paused."""
        place = ClientPartition(*partition, offset)
        self._sought[partition] = offsets(asked(self._client.position, places([partition])))[
            partition
        ]
        try:
            self._client.seek(place)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:  # noqa: SLF001 - a public constant
                raise failure(error.args[0]) from error
            self._start_again(place)

    def assign_again(self, partition: TopicPartition, offset: int) -> None:
        """See `ports.Consumer`; a pause of the earlier assignment would still hold."""
        place = ClientPartition(*partition, offset)
        if self._eager:
            asked(self._client.assign, [*self._others(place), place])
        else:
            if partition in sources(asked(self._client.assignment)):
                asked(self._client.incremental_unassign, [place])
            asked(self._client.incremental_assign, [place])
        self.resume([partition])

    def find(self, partitions: Sequence[TopicPartition], place: Place) -> Offsets:
        """See `ports.Consumer`; with KIP-848 a partition may be ours that the client knows not."""
        try:
            return questions.find(self._client, partitions, place)
        except ClientError as error:
            if error.code != KafkaError._UNKNOWN_PARTITION:  # noqa: SLF001 - a public constant
                raise
        return questions.find_anew(self._properties, self._log, partitions, place)

    def group_offsets(self) -> Mapping[TopicPartition, Commit | None]:
        """See `ports.Consumer`."""
        partitions = questions.partitions(self._properties, self._topics, self._log)
        return questions.committed_at_last(self._client, places(partitions), self._log)

    def committed(
        self, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, Commit | None]:
        """See `ports.Consumer`."""
        return questions.committed(self._client, places(partitions), BRIEFLY)

    def ends(self, partitions: Sequence[TopicPartition]) -> Offsets:
        """See `ports.Consumer`; by the client's statistics, so about a second later."""
        return self._statistics.offsets(self._end, partitions)

    def fetched(self, partitions: Sequence[TopicPartition]) -> Offsets:
        """See `ports.Consumer`."""
        return self._statistics.offsets("next_offset", partitions)

    def positions(self, partitions: Sequence[TopicPartition]) -> Offsets:
        """See `ports.Consumer`; the client forgets the position before a seek a little later."""
        told = offsets(asked(self._client.position, places(partitions)))
        self._forget_seeks(source for source, at in told.items() if at != self._sought.get(source))
        return {
            source: offset
            for source, offset in told.items()
            if offset >= 0 and source not in self._sought
        }

    def commit(self, commits: Commits, *, wait: bool) -> None:
        """See `ports.Consumer`."""
        committed = committable(commits)
        try:
            if not wait:
                self._client.commit(offsets=committed, asynchronous=True)
            elif committed:
                self._commit_and_wait(committed)
        except KafkaException as error:
            if wait:
                raise CommitFailed(describe(error.args[0])) from error
            self._refused.append((commits, describe(error.args[0])))

    def membership(self) -> Membership:
        """See `ports.Consumer`."""
        return Membership(self._client.consumer_group_metadata())

    def close(self) -> None:
        """See `ports.Consumer`."""
        if self._closed:
            return
        self._closed = True
        self._give_back()
        self._client.close()
        self._tell_refused()
        self._kept.release()

    def _give_back(self) -> None:
        """Leave in good order before closing.

        A commit in a `revoked` that the client's own close tells is refused while the group still
        settles, and that close was once seen never to return.
        """
        deadline = time.monotonic() + LEAVE_TIMEOUT
        try:
            if self._by_hand:
                self._client.unassign()
            elif self._static:
                self._rest()
                return
            self._client.unsubscribe()
            while self._client.assignment() and time.monotonic() < deadline:
                self._client.poll(0.1)
        except (KafkaException, RuntimeError, SystemError) as error:
            self._log.warning("the group was not left in good order: %s", error)

    def _rest(self) -> None:
        """Give back without leaving: to unsubscribe would take a static member out of its group."""
        owned = sources(self._client.assignment())
        if owned:
            self._kept.guard(self._rebalance.revoked)(owned)
        self._untold.update(owned)

    # --- what the client tells, inside poll and close ---

    def _on_assign(self, _client: Client, partitions: list[ClientPartition]) -> None:
        if self._closed:  # too late: the group answers no questions of a member that leaves
            self._leave_to_client(partitions)
            return
        self._lost_in = None
        self._access.joined()
        self._member = self._client.memberid()
        try:
            self._rebalance.admitted()
            starts = self._rebalance.assigned(
                questions.committed_at_last(self._client, partitions, self._log)
            )
        except BaseException:
            self._leave_to_client(partitions)
            raise
        self._assigned.update(source.topic for source in starts)
        self._start(starts)

    def _leave_to_client(self, partitions: list[ClientPartition]) -> None:
        """Nobody is told of these: the client takes them by itself, and gives them back.

        What it does not have it cannot give back when it closes, and then that never returns.
        """
        self._untold.update(sources(partitions))
        self._gone.update(sources(partitions))

    def _on_revoke(self, _client: Client, partitions: list[ClientPartition]) -> None:
        leaving = self._leaving(partitions)
        if leaving or not self._closed:
            self._rebalance.revoked(leaving)

    def _on_lost(self, _client: Client, partitions: list[ClientPartition]) -> None:
        if not self._closed:
            self._lost_in = self._generation()
        self._rebalance.lost(self._leaving(partitions))

    def _leaving(self, partitions: list[ClientPartition]) -> list[TopicPartition]:
        leaving = [source for source in sources(partitions) if source not in self._untold]
        self._gone.update(leaving)
        self._access.left(leaving)
        return leaving

    def _on_commit(self, error: KafkaError | None, partitions: list[ClientPartition]) -> None:
        problem = errors(partitions)
        if problem is None and error is not None and not is_nothing_to_commit(error):
            problem = describe(error)
        self._rebalance.committed(commits(partitions), problem)

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - a public constant
            self._statistics.connected = False
        self._access.note(error)
        self._note(error)

    # --- details ---

    def _fenced(self, error: Fenced) -> Fencing:
        ask = partial(questions.holder, self._properties, self._log, BRIEFLY)
        session = self._properties.get("session.timeout.ms", SESSION_MS) / 1000
        return Fencing(error, self._member, self._client.memberid(), ask, session)

    def _generation(self) -> int:
        return generation(self._client.consumer_group_metadata())

    def _take(self, limit: int) -> list[Raw]:
        try:
            return self._client.consume(limit, 0)
        except KafkaException as error:
            self._kept.keep(failure(error.args[0]))
            return []

    def _fetches(self, raws: list[Raw]) -> list[Fetch]:
        if any(map(Raw.error, raws)):
            raws = self._without_errors(raws)
        by_place = _by_place(raws)
        if self._sought:
            self._forget_seeks(TopicPartition(*place) for place in by_place)
        return [
            Fetch(TopicPartition(*place), group, bytes_of(group))
            for place, group in by_place.items()
            if place not in self._gone
        ]

    def _forget_seeks(self, partitions: Iterable[TopicPartition]) -> None:
        for partition in partitions:
            self._sought.pop(partition, None)

    def _without_errors(self, raws: list[Raw]) -> list[Raw]:
        messages = []
        for raw in raws:
            error = raw.error()
            if error is None:
                messages.append(raw)
            else:
                self._kept.guard(self._on_error_message)(error, raw)
        return messages

    def _on_error_message(self, error: KafkaError, raw: Raw) -> None:
        is_unknown = error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
        if is_unknown and is_pattern(raw.topic() or ""):
            return
        self._note(error)
        place = TopicPartition(raw.topic() or "", raw.partition() or 0)
        self._access.note_of(place, error, lambda: sources(self._client.assignment()))
        if error.code() in _OFFSET_LOST:
            self._rebalance.offset_lost(place)

    def _note(self, error: KafkaError) -> None:
        self._last_error = self._access.described(error)
        self._on_any_error(error)
        self._log.warning("%s", self._last_error)
        problem = failure(error)
        if type(problem) is not ClientError:
            self._kept.keep(problem)

    def _require_never_read(self, topics: Collection[str]) -> None:
        """Raise `ClientFatal` where topics are there again that this client has read before.

        It takes what it is told of their leaders for outdated, since epochs begin again with 0
        where those of the topics before had risen, and reads none of their partitions.
        """
        names = ", ".join(sorted(self._assigned.intersection(topics)))
        if names:
            raise ClientFatal(
                f"a client does not follow topics that were gone and are there again: {names}",
                retriable=True,
            )

    def _start(self, starts: Offsets) -> None:
        """Begin to fetch; a pause of an earlier assignment would still hold, so it is ended."""
        assigned = [ClientPartition(*source, offset) for source, offset in starts.items()]
        self._gone.difference_update(starts)
        self._client.resume(assigned)
        if self._eager:
            self._starts = dict(starts)
            self._client.assign(assigned)
        else:
            self._client.incremental_assign(assigned)

    def _start_again(self, place: ClientPartition) -> None:
        """Seek in a partition that is not being fetched: just assigned, or its offset is lost."""
        if self._eager and TopicPartition(place.topic, place.partition) in self._starts:
            asked(self._client.assign, [*self._others(place), place])
            return
        asked(self._client.incremental_unassign, [place])
        asked(self._client.incremental_assign, [place])

    def _others(self, place: ClientPartition) -> list[ClientPartition]:
        """The rest of the assignment, where it is being read."""
        source = TopicPartition(place.topic, place.partition)
        self._starts[source] = place.offset
        positions = offsets(self._client.position(places(self._starts)))
        return [
            ClientPartition(*other, start if positions[other] < 0 else positions[other])
            for other, start in self._starts.items()
            if other != source
        ]

    def _commit_and_wait(self, committed: list[ClientPartition]) -> None:
        """Commit; again where the group has gone on to an epoch that the next heartbeat tells."""
        deadline = time.monotonic() + COMMIT_WITHIN
        while True:
            try:
                problem = errors(self._client.commit(offsets=committed, asynchronous=False))
            except KafkaException as error:
                if error.args[0].code() != _STALE or time.monotonic() > deadline:
                    raise
                time.sleep(COMMIT_AGAIN_AFTER)
            else:
                break
        if problem is not None:
            raise CommitFailed(problem)

    def _tell_refused(self) -> None:
        refused, self._refused = self._refused, []
        for missed, problem in refused:
            self._rebalance.committed(missed, problem)


def _by_place(raws: list[Raw]) -> Mapping[tuple[Any, Any], list[RawMessage]]:
    """The messages by topic and partition, most often one."""
    messages = cast("list[RawMessage]", raws)
    if len({*map(Raw.partition, raws)}) == 1 and len({*map(Raw.topic, raws)}) == 1:
        return {(raws[0].topic(), raws[0].partition()): messages}
    by_place: defaultdict[tuple[Any, Any], list[RawMessage]] = defaultdict(list)
    for message in messages:
        by_place[message.topic(), message.partition()].append(message)
    return by_place
