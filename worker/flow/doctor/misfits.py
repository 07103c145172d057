"""What does not fit: settings that work against each other, and topics of dead letters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from worker.flow.doctor.facts import Facts
from worker.flow.doctor.finding import Finding, Rule
from worker.settings.spec import RetrySettings

HEADERS: Final = 16_384
"""Bytes that a dead letter has beside its message, at most."""
LONG_WAIT: Final = 30.0
"""Seconds that one message may hold up its partition in the ordinary course of its retries."""


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


MISFITS: Final[Sequence[Rule]] = (_too_few_lanes, _misfits, _dead_letter_topics)
