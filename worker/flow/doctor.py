"""Why a pipeline's lag grows, and what does not fit: verdicts over what is known of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final, Literal, NamedTuple

from worker.settings import Pipeline
from worker.settings.spec import RetrySettings
from worker.types import TopicInfo, TopicPartition

Severity = Literal["problem", "warning"]
"""Something stands in the way now, or will."""

BEHIND: Final = 100
"""Messages of lag below which nobody asks for its cause."""
HOT_PARTITION: Final = 0.5
"""Share of a pipeline's lag, or of what comes, from which on a partition is hot..."""
HOT_FACTOR: Final = 3.0
"""...if it is so many times that of the others on average."""
HOT_KEY: Final = 0.2
"""Share of the sample from which on a key is hot."""
LEAST_SAMPLE: Final = 100
"""Records of a sample that say anything about keys."""
MOST: Final = 0.5
"""Share of the loop's time from which on a stage is what it mainly does."""
AT_LIMIT: Final = 0.9
"""Share of a rate from which on it is what holds a pipeline."""
FAILING: Final = 0.3
"""Failed attempts for each handled message from which on they are what keeps handlers busy."""
HEADERS: Final = 16_384
"""Bytes that a dead letter has beside its message, at most."""
STANDS: Final = 30.0
"""Seconds for which a partition waits for one message before that is worth a word..."""
STANDS_FACTOR: Final = 10.0
"""...if that is so many times what a message takes on average."""
LONG_WAIT: Final = 30.0
"""Seconds that one message may hold up its partition in the ordinary course of its retries."""


@dataclass(frozen=True, slots=True)
class Durations:
    """How long some things took: a histogram as Prometheus has it."""

    buckets: Mapping[float, int]
    """By the seconds at which a bucket ends how many took no longer; the last end is infinite."""
    total: float
    """Seconds, all together."""

    @property
    def count(self) -> int:
        """How many there are."""
        return max(self.buckets.values(), default=0)

    @property
    def mean(self) -> float | None:
        """Seconds on average; None without any."""
        return self.total / self.count if self.count else None

    def since(self, before: Durations) -> Durations:
        """Those that came later; all of them if they were counted anew, or none came."""
        if self.count <= before.count:
            return self
        later = {end: number - before.buckets.get(end, 0) for end, number in self.buckets.items()}
        return Durations(later, self.total - before.total)

    def quantile(self, part: float) -> float | None:
        """The end of the bucket in which this part of them is over; None without any.

        The largest known end of what took longer than all of them.
        """
        known = [end for end in sorted(self.buckets) if end != inf]
        reached = (end for end in known if self.buckets[end] >= part * self.count)
        return next(reached, max(known, default=None)) if self.count else None


class Finding(NamedTuple):
    """Something that is wrong, by what it shows, and what to do about it."""

    severity: Severity
    code: str
    what: str
    evidence: str
    advice: str


@dataclass(frozen=True, slots=True)
class Source:
    """A partition that is read, as it was at two moments."""

    low: int
    """The oldest offset that is kept."""
    end_before: int
    end: int
    committed_before: int | None
    committed: int | None
    """None where the group has committed nothing."""

    @property
    def lag(self) -> int:
        """Messages behind the committed offset, at most."""
        return max(0, self.end - max(self.low, self.committed or 0))

    @property
    def arrived(self) -> int:
        """How many came between the two."""
        return max(0, self.end - self.end_before)

    @property
    def done(self) -> int:
        """How many were committed between the two."""
        before = self.low if self.committed_before is None else self.committed_before
        return 0 if self.committed is None else max(0, self.committed - before)


class Standing(NamedTuple):
    """A partition that waits for one message."""

    source: TopicPartition
    offset: int
    seconds: float
    """For which it has."""

    def __str__(self) -> str:
        return f"{self.source.topic}/{self.source.partition}/{self.offset} for {self.seconds:.0f} s"


@dataclass(frozen=True, slots=True)
class Working:
    """What a worker says of a pipeline, at the second moment or between the two."""

    handled: float = 0.0
    """Messages per second."""
    retried: float = 0.0
    """Failed attempts per second."""
    in_flight: int = 0
    at_work: int | None = None
    """Runs that handlers have; None where the worker does not say."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Of the loop's time, by stage; empty where the worker does not say."""
    mean: float | None = None
    """Seconds that a message is with its handler."""
    p99: float | None = None
    processes: int = 1
    failed: str | None = None
    blocked: str | None = None
    hindered: str | None = None
    breaker_open: str | None = None
    overrunning: tuple[str, ...] = ()
    """Messages whose handlers take longer than `timeout`."""
    held: tuple[Standing, ...] = ()
    """Partitions that are not read on, each with what holds it, and since when it was committed no
    further: under back-pressure that is moments."""
    standing: tuple[Standing, ...] = ()
    """Partitions that are committed no further until a handler comes back from a message."""
    last_failure: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a pipeline."""

    name: str
    group: str
    settings: Pipeline
    seconds: float
    """Between the two moments."""
    sources: Mapping[TopicPartition, Source]
    members: int | None = None
    """Of its group; None where nobody says."""
    keys: Counter[bytes] = field(default_factory=Counter)
    """By what makes lanes, of a sample of what waits, or else of what was written last."""
    sampled: int = 0
    """Records of the sample."""
    working: Working | None = None
    """None where no worker answers."""
    topics: Mapping[str, TopicInfo] = field(default_factory=dict)
    """Those that it reads and those of its dead letters, as far as they are there."""
    cores: int = 1
    """Handlers that a worker has by default."""

    @property
    def lag(self) -> int:
        """Messages that wait."""
        return sum(one.lag for one in self.sources.values())

    @property
    def arriving(self) -> float:
        """Messages per second that come."""
        return sum(one.arrived for one in self.sources.values()) / self.seconds

    @property
    def finishing(self) -> float:
        """Messages per second that are committed."""
        return sum(one.done for one in self.sources.values()) / self.seconds

    @property
    def read(self) -> list[TopicPartition]:
        """Of the partitions that are read, those of topics that more is known of."""
        return [source for source in self.sources if source.topic in self.topics]

    @property
    def is_behind(self) -> bool:
        """Whether there is so much lag that its cause is of interest."""
        return self.lag >= BEHIND

    @property
    def standing(self) -> Sequence[Standing]:
        """Partitions that wait for one message, which has been at work for long."""
        return [] if self.working is None else _for_long(self.working, self.working.standing)

    @property
    def moving(self) -> Facts:
        """The same without these, since more handlers or other keys would not help them."""
        standing = {one.source for one in self.standing}
        others = {source: one for source, one in self.sources.items() if source not in standing}
        return replace(self, sources=others)

    @property
    def stopped(self) -> bool:
        """Whether it handles nothing whatever waits, as far as the worker says."""
        working = self.working or Working()
        why = working.failed, working.blocked, working.hindered, working.breaker_open
        return any(one is not None for one in why)

    @property
    def handlers(self) -> int:
        """How many messages can be with handlers at the same time, in all processes."""
        processes = 1 if self.working is None else self.working.processes
        each = self.settings.concurrency or self.cores
        if self.settings.ordering == "partition":
            return min(each * processes, max(1, len(self.sources)))
        return each * processes


def _for_long(working: Working, standing: Iterable[Standing]) -> Sequence[Standing]:
    long = max(STANDS, STANDS_FACTOR * (working.mean or 0.0))
    return [one for one in standing if one.seconds >= long]


def findings(facts: Facts) -> list[Finding]:
    """What is wrong with a pipeline, problems first."""
    found = [one for rule in RULES for one in rule(facts)]
    return sorted(found, key=lambda one: one.severity != "problem")


def _nobody(facts: Facts) -> Iterator[Finding]:
    if facts.members == 0 and facts.lag:
        yield Finding(
            "problem",
            "nobody",
            "nobody reads its messages",
            f"group {facts.group} has no members, and {facts.lag:,} messages wait",
            "start a worker with this spec: `worker run`",
        )


def _stopped(facts: Facts) -> Iterator[Finding]:
    working = facts.working or Working()
    kinds = (
        ("failed", "it has stopped", working.failed, "mend that, then start the worker again"),
        (
            "cannot_deliver",
            "results or dead letters cannot be delivered",
            working.blocked,
            "see whether that topic is there and may be written to",
        ),
        ("cannot_handle", "no message can be handled", working.hindered, "see the worker's log"),
        (
            "breaker_open",
            "it waits for what its handler depends on",
            working.breaker_open,
            "see what the handler calls: the pipeline goes on as soon as that answers",
        ),
    )
    for code, what, evidence, advice in kinds:
        if evidence is not None:
            yield Finding("problem", code, what, evidence, advice)


def _hanging(facts: Facts) -> Iterator[Finding]:
    working = facts.working or Working()
    if working.overrunning:
        limit = facts.settings.timeout or 0
        yield Finding(
            "problem",
            "hanging",
            f"handlers take longer than timeout: {limit:g}s",
            f"{len(working.overrunning)} messages, such as {working.overrunning[0]}",
            "give what the handler calls a time-out of its own that is shorter",
        )
    elif facts.standing and facts.settings.timeout is None:
        first = max(facts.standing, key=lambda one: one.seconds)
        lag = sum(
            facts.sources[one.source].lag for one in facts.standing if one.source in facts.sources
        )
        yield Finding(
            "problem",
            "hanging",
            "a handler does not come back, and what is behind its message is not committed",
            f"it has been at {first}, and {lag:,} messages wait",
            "give what the handler calls a time-out, and the pipeline a `timeout`; until then only "
            "a restart frees the partition",
        )
    elif held := _for_long(working, working.held):
        yield Finding(
            "warning",
            "held",
            "partitions are not read on, since a message of theirs is not finished",
            ", ".join(map(str, held[:3])),
            "see these messages with `worker explain`",
        )


def _lost(facts: Facts) -> Iterator[Finding]:
    lost = {
        source: one.low - one.committed
        for source, one in facts.sources.items()
        if one.committed is not None and one.committed < one.low
    }
    if lost:
        listed = ", ".join(f"{number:,} of {source}" for source, number in lost.items())
        yield Finding(
            "problem",
            "lost",
            "messages were deleted before they were handled",
            f"{listed}: they lie between the committed offset and the oldest record",
            "raise retention.ms of the topic above the longest time that workers may be away",
        )


def _hot_partition(facts: Facts) -> Iterator[Finding]:
    facts = facts.moving
    if facts.stopped or not facts.is_behind or len(facts.sources) < 2:
        return
    source, one = max(facts.sources.items(), key=lambda item: item[1].lag)
    share, fair = one.lag / facts.lag, 1 / len(facts.sources)
    others = (facts.lag - one.lag) / (len(facts.sources) - 1)
    if share < HOT_PARTITION or one.lag < HOT_FACTOR * others:
        return
    came = sum(other.arrived for other in facts.sources.values())
    coming = f" and gets {one.arrived / came:.0%} of what comes" if came else ""
    yield Finding(
        "problem",
        "hot_partition",
        f"one partition has most of the lag: {source}",
        f"it has {share:.0%} of {facts.lag:,} messages{coming}; {fair:.0%} would be its share",
        "have the producer spread its records by a key with more values",
    )


def _hot_key(facts: Facts) -> Iterator[Finding]:
    if not facts.is_behind or facts.sampled < LEAST_SAMPLE or not facts.keys:
        return
    if facts.settings.ordering == "none":
        return
    key, number = facts.keys.most_common(1)[0]
    share = number / facts.sampled
    if share < HOT_KEY:
        return
    what = "key" if facts.settings.lane == "key" else f"lane of {facts.settings.lane}"
    text = key[:80].decode("utf-8", "backslashreplace")
    yield Finding(
        "problem",
        "hot_key",
        f"one {what} has much of what waits: {text}",
        f"{share:.0%} of {facts.sampled:,} records looked at, of {len(facts.keys):,} of them; "
        "its messages are handled one after the other",
        "have the producer spread it over several keys, such as by one more field",
    )


def _slow_handler(facts: Facts) -> Iterator[Finding]:
    working, lag = facts.working, facts.moving.lag
    if working is None or facts.stopped or lag < BEHIND or not is_busy(facts):
        return
    yield Finding(
        "problem",
        "slow_handler",
        "its handlers are at work all the time, and more messages wait",
        f"{_durations(working)}{working.handled:,.1f} messages a second are handled, "
        f"{facts.arriving:,.1f} come, and {lag:,} wait{_share(working, 'handler')}",
        _faster(facts),
    )


def is_busy(facts: Facts) -> bool:
    """Whether all handlers that can be at work are."""
    working = facts.working
    if working is None:
        return False
    if working.shares:
        return working.shares.get("handler", 0.0) >= MOST
    at_work = working.in_flight if working.at_work is None else working.at_work
    return at_work >= facts.handlers


def _durations(working: Working) -> str:
    if working.mean is None or working.p99 is None:
        return ""
    mean, p99 = _time(working.mean), _time(working.p99)
    return f"a message takes {mean} on average, and 99 of 100 at most {p99}; "


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def _share(working: Working, stage: str) -> str:
    share = working.shares.get(stage)
    return "" if share is None else f"; {share:.0%} of the loop's time goes there"


BATCHES: Final = "of a handler of batches add partitions"


def _faster(facts: Facts) -> str:
    """The nearest way to more messages a second."""
    settings, number = facts.settings, len(facts.sources)
    concurrency = settings.concurrency or facts.cores
    if settings.pool == "process" and concurrency >= facts.cores:
        return "start the worker on more machines, or make the handler faster"
    if settings.ordering != "partition" and concurrency >= facts.cores:
        return (
            f"raise `concurrency`, now {concurrency}, where the handler waits for others; where it "
            "computes, a sync one gets on with `pool: process`"
        )
    if settings.ordering != "partition" or concurrency < number:
        most = f", up to its {number} partitions" if settings.ordering == "partition" else ""
        return f"raise `concurrency`, now {concurrency}{most}"
    if settings.batch is not None:
        return f"give its topics more partitions, now {number}: of each one batch is handled"
    if facts.sampled and not facts.keys:
        return f"say `ordering: none`, since records have no keys; {BATCHES}"
    return (
        "say `ordering: key`, so that more than one message of a partition is handled; " + BATCHES
    )


def _too_few_partitions(facts: Facts) -> Iterator[Finding]:
    number = len(facts.sources)
    if facts.members is None or not number or facts.members <= number:
        return
    idle = facts.members - number
    yield Finding(
        "problem" if facts.is_behind else "warning",
        "too_few_partitions",
        "there are more members than partitions",
        f"{facts.members} members share {number} partitions: {idle} have nothing to do",
        f"give its topics {facts.members} partitions",
    )


def _too_few_lanes(facts: Facts) -> Iterator[Finding]:
    settings, number = facts.settings, len(facts.sources)
    wanted = settings.concurrency
    if settings.ordering == "partition" and wanted is not None and number and wanted > number:
        yield Finding(
            "warning",
            "too_few_lanes",
            "it has more handlers than lanes",
            f"concurrency: {wanted}, and ordering: partition handles one message of each of "
            f"{number} partitions at a time",
            f"say `ordering: key`, or `concurrency: {number}` for a handler of batches",
        )


def _at_rate_limit(facts: Facts) -> Iterator[Finding]:
    limit, working = facts.settings.rate_limit, facts.working
    if limit is None or limit.pipeline is None or working is None or not facts.is_behind:
        return
    allowed = limit.pipeline * working.processes
    if working.handled >= AT_LIMIT * allowed:
        yield Finding(
            "problem",
            "rate_limit",
            "its rate_limit holds it",
            f"{working.handled:,.1f} messages a second are handled and {allowed:g} are allowed",
            "raise rate_limit, if what the handler calls bears that",
        )


def _failing(facts: Facts) -> Iterator[Finding]:
    working = facts.working
    if working is None or not working.retried:
        return
    if working.retried >= FAILING * max(working.handled, 1.0):
        last = f", such as {working.last_failure}" if working.last_failure else ""
        yield Finding(
            "problem",
            "failing",
            "much of its time goes into attempts that fail",
            f"{working.retried:,.1f} attempts a second fail and {working.handled:,.1f} messages "
            f"are handled{last}",
            "mend what fails; `failures` of /stats names the kinds, each with an example",
        )


MORE_PROCESSES: Final = "give it more processes: `worker run --processes`"
_STAGES: Final = {
    "produce": "it waits for its results to be acknowledged",
    "commit": "it waits for its commits",
    "poll": "it is busy with taking messages from the client",
    "decode": "it is busy with decoding payloads",
}


def _slow_stage(facts: Facts) -> Iterator[Finding]:
    working, settings = facts.working, facts.settings
    if working is None or not facts.is_behind:
        return
    interval = "transaction" if settings.delivery == "exactly_once" else "commit"
    advice = {
        "produce": "see in round_trips of /stats which broker is slow",
        "commit": f"commit less often: raise {interval}.interval",
        "poll": MORE_PROCESSES,
        "decode": MORE_PROCESSES,
    }
    for stage, what in _STAGES.items():
        share = working.shares.get(stage, 0.0)
        if share >= MOST:
            evidence = f"{share:.0%} of its loop's time goes to {stage}"
            yield Finding("problem", f"slow_{stage}", what, evidence, advice[stage])


def _misfits(facts: Facts) -> Iterator[Finding]:
    """Settings that work against each other."""
    settings = facts.settings
    batch, room = settings.batch or 1, settings.in_flight.messages
    longest = settings.timeout or 0.0
    ending = min(settings.drain_timeout, settings.revoke_timeout)
    attempts, wait = settings.retry.attempts, _longest_wait(settings.retry)
    pairs = (
        (
            facts.handlers * batch > room,
            "in_flight has no room for all handlers",
            f"{facts.handlers} handlers take {batch} each, and in_flight.messages is {room:,}",
            f"raise in_flight.messages to {2 * facts.handlers * batch:,}",
        ),
        (
            longest > ending,
            "a message may be at work for longer than an end or a rebalance waits",
            f"timeout is {longest:g}s, and drain_timeout or revoke_timeout {ending:g}s: what is at "
            "work then is handled again",
            f"raise both to {longest + 5:g}s",
        ),
        (
            settings.ordering == "partition" and wait > LONG_WAIT,
            "retries in place may hold up a whole partition",
            f"{attempts} attempts at one message may wait for {wait:g}s in all",
            "try a few times only, and give it retry.topics for the rest",
        ),
    )
    for holds, what, evidence, advice in pairs:
        if holds:
            yield Finding("warning", "misfit", what, evidence, advice)


def _dead_letter_topics(facts: Facts) -> Iterator[Finding]:
    """Dead-letter topics that do not keep every message as it is."""
    target = facts.settings.dead_letter
    largest = max((facts.topics[one.topic].max_message_bytes for one in facts.read), default=0)
    for topic in [] if target is None else target.topics:
        info = facts.topics.get(topic)
        if info is None:
            continue
        if "compact" in info.config.get("cleanup.policy", ""):
            yield Finding(
                "warning",
                "compacted_dead_letters",
                f"of the dead letters of a key only the last is kept in {topic}",
                f"cleanup.policy={info.config['cleanup.policy']}",
                "set it to delete",
            )
        if info.max_message_bytes < largest:
            yield Finding(
                "warning",
                "small_dead_letters",
                f"{topic} takes smaller records than its sources, so large dead letters lose parts",
                f"max.message.bytes={info.max_message_bytes}, and {largest} of a source",
                f"set it to {largest + HEADERS} or more, which leaves room for headers",
            )


def _longest_wait(retry: RetrySettings) -> float:
    """Seconds that the attempts at one message in place wait for, all together."""
    backoff = retry.backoff
    waits = (backoff.initial * backoff.multiplier**one for one in range(retry.attempts - 1))
    return sum(min(wait, backoff.max) for wait in waits)


Rule = Callable[[Facts], Iterable[Finding]]

RULES: Final[Sequence[Rule]] = (
    _nobody,
    _stopped,
    _hanging,
    _lost,
    _hot_partition,
    _hot_key,
    _slow_handler,
    _too_few_partitions,
    _too_few_lanes,
    _at_rate_limit,
    _failing,
    _slow_stage,
    _misfits,
    _dead_letter_topics,
)
"""What is looked for, the plainest cause first."""
