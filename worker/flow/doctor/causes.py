"""What a pipeline's lag grows of, the plainest cause first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from worker.flow.counted import counted
from worker.flow.doctor.facts import BEHIND, Facts, Source, Working
from worker.flow.doctor.finding import Finding, Rule
from worker.types import TopicPartition

HOT_PARTITION: Final = 0.5
"""Share of a pipeline's lag, or of what comes, from which on a partition is hot..."""
HOT_FACTOR: Final = 3.0
"""...if it is so many times that of the others on average."""
HOT_KEY: Final = 0.2
"""Share of the sample from which on a key is hot."""
LEAST_SAMPLE: Final = 100
"""Records of a sample that say anything about keys."""
MOST: Final = 0.5
"""Share of the loop's time, or of a sample, from which on something is most of it."""
AT_LIMIT: Final = 0.9
"""Share of a rate from which on it is what holds a pipeline."""
FAILING: Final = 0.3
"""Failed attempts for each handled message from which on they are what keeps handlers busy."""


def _nobody(facts: Facts) -> Iterator[Finding]:
    if facts.members == 0 and facts.lag:
        yield Finding(
            "problem",
            "nobody",
            "nobody reads its messages",
            f"group {facts.group} has no members, and {_waiting(facts.lag)}",
            "start a worker with this spec: `worker run`",
        )


def _waiting(lag: int) -> str:
    return counted(lag, "message waits", "messages wait")


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
            f"{counted(len(working.overrunning))}, such as {working.overrunning[0]}",
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
            f"it has been at {first}, and {_waiting(lag)}",
            "give what the handler calls a time-out, and the pipeline a `timeout`; until then only "
            "a restart frees the partition",
        )
    elif held := working.for_long(working.held):
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


def _hot(facts: Facts) -> tuple[TopicPartition, Source] | None:
    """The hot partition among those that get on, if one is."""
    if facts.stopped or not facts.is_behind or len(facts.sources) < 2:
        return None
    source, one = max(facts.sources.items(), key=lambda item: item[1].lag)
    others = (facts.lag - one.lag) / (len(facts.sources) - 1)
    is_hot = one.lag / facts.lag >= HOT_PARTITION and one.lag >= HOT_FACTOR * others
    return (source, one) if is_hot else None


def _hot_partition(facts: Facts) -> Iterator[Finding]:
    facts = facts.moving
    hot = _hot(facts)
    if hot is None:
        return
    source, one = hot
    share, fair = one.lag / facts.lag, 1 / len(facts.sources)
    came = sum(other.arrived for other in facts.sources.values())
    coming = f" and gets {one.arrived / came:.0%} of what comes" if came else ""
    yield Finding(
        "problem",
        "hot_partition",
        f"one partition has most of the lag: {source}",
        f"it has {share:.0%} of {facts.lag:,} messages{coming}; {fair:.0%} would be its share",
        "have the producer spread its records by a key with more values",
    )


def _hottest(facts: Facts) -> tuple[bytes, float]:
    """The key, or lane, that most of the sample has, and its share; 0 where that says nothing."""
    keys, sampled = facts.keys, facts.sampled
    if sampled < LEAST_SAMPLE or not keys or facts.settings.ordering == "none":
        return b"", 0.0
    key, number = keys.most_common(1)[0]
    return key, number / sampled


def _hot_key(facts: Facts) -> Iterator[Finding]:
    facts = facts.moving
    key, share = _hottest(facts)
    if not facts.is_behind or share < HOT_KEY:
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
        _advice(facts),
    )


def _advice(facts: Facts) -> str:
    """What gets more messages handled a second, wherever they wait."""
    ordering = facts.settings.ordering
    if ordering == "partition" and _hot(facts.moving) is not None:
        return _faster_in_one(facts)
    if ordering == "key" and _hottest(facts.moving)[1] >= MOST:
        return "make the handler faster: most of what waits is handled one after the other"
    return _faster(facts)


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
    return _within_partitions(facts, "of a handler of batches add partitions")


def _faster_in_one(facts: Facts) -> str:
    """The same where one partition has most of what waits, which others do not help."""
    if facts.settings.batch is not None:
        return "make the handler faster: of a partition one batch is handled at a time"
    return _within_partitions(facts, "make a handler of batches faster")


def _within_partitions(facts: Facts, of_batches: str) -> str:
    """How more than one message of a partition is handled at a time."""
    if facts.sampled and not facts.keys:
        return f"say `ordering: none`, since records have no keys; {of_batches}"
    several = "so that more than one message of a partition is handled"
    return f"say `ordering: key`, {several}; {of_batches}"


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


def _crashes(facts: Facts) -> Iterator[Finding]:
    working = facts.working
    if working is not None and working.crashes:
        yield Finding(
            "problem" if working.lately else "warning",
            "crashes",
            "messages end the process that handles them",
            f"{counted(working.crashes)} since the worker's start, {working.lately:,} of them just "
            f"now; the last: {working.last_crash}",
            "see that message with `worker explain`, and whether its handler runs out of memory, "
            "exits, or calls native code that fails",
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


CAUSES: Final[Sequence[Rule]] = (
    _nobody,
    _stopped,
    _hanging,
    _lost,
    _hot_partition,
    _hot_key,
    _slow_handler,
    _too_few_partitions,
    _at_rate_limit,
    _failing,
    _crashes,
    _slow_stage,
)
