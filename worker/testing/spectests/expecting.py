"""What has come of a test against what was expected: where they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from worker.flow.letters import Letter
from worker.settings import Expectations, Expected, ExpectedLetter, Part, Retried, Spot
from worker.spec.tree import KeyPath
from worker.spec.units import united
from worker.testing.driver import Driver
from worker.testing.faults import At
from worker.testing.matching import ANYTHING, differences, readings, shown
from worker.testing.memory.producer import as_bytes
from worker.types import Message, TopicPartition

Differences = Iterator[tuple[KeyPath, str]]
"""Each with the path of the key that it is about."""

Wanted = TypeVar("Wanted")
Found = TypeVar("Found")

TOLERANCE: Final = 0.05
"""Seconds by which a delay may be another one; a hundredth of it where that is more."""


def unmet(driver: Driver, wanted: Expectations, here: KeyPath, *, at_end: bool) -> Differences:
    """What is not as it was to be; at the end of a test nothing may have failed unexpectedly."""
    for topic, records in wanted.expect.items():
        yield from _records((*here, "expect", topic), records, driver.topic(topic))
    letters = [] if wanted.dead_letters is None and at_end else wanted.dead_letters
    if letters is not None:
        yield from _letters((*here, "dead_letters"), letters, driver.dead_letters)
    for place, retried in enumerate(wanted.retries):
        yield from _retries(driver, (*here, "retries", place), retried)
    yield from _committed(driver, wanted, (*here, "committed"))
    failed = {} if wanted.failed is None and at_end else wanted.failed
    if failed is not None:
        yield from _failed(driver, (*here, "failed"), failed)


def at(spot: Spot) -> At:
    """The place of a story that a spot of a file means."""
    return At(
        spot.topic,
        spot.key,
        value=spot.contains if "contains" in spot.model_fields_set else ANYTHING,
        whole=spot.value if spot.says_value else ANYTHING,
        headers=spot.headers,
        partition=spot.partition,
        offset=spot.offset,
    )


# --- records ---


def _records(here: KeyPath, wanted: Sequence[Expected], found: Sequence[Message]) -> Differences:
    met = _paired(wanted, found, lambda one, message: not any(_unlike(one, message)))
    yield from _out_of_order(here, met)
    left = [message for message in found if message not in met]
    for place, (one, message) in enumerate(zip(wanted, met, strict=True)):
        if message is None:
            near = _nearest(one, left)
            yield from _missed((*here, place), near, _unlike(one, near) if near else iter(()))
            left = [message for message in left if message is not near]
    for message in left:
        yield here, f"one more: {_told(message)}"


def _out_of_order(here: KeyPath, met: Sequence[Message | None]) -> Differences:
    last: dict[int, Message] = {}
    for place, message in enumerate(met):
        if message is None:
            continue
        before = last.get(message.partition)
        if before is not None and before.offset > message.offset:
            words = f"comes before the one that is expected before it, {_told(before)}"
            yield (*here, place), words
        last[message.partition] = message


def _unlike(wanted: Expected, message: Message) -> Differences:
    yield from _unlike_part(wanted, message)
    if wanted.partition not in (None, message.partition):
        yield ("partition",), f"{message.partition} instead of {wanted.partition}"


def _unlike_part(wanted: Part, message: Message) -> Differences:
    key = None if message.key is None else message.key.decode(errors="replace")
    if wanted.key not in (None, key):
        yield ("key",), f"{shown(key)} instead of {shown(wanted.key)}"
    for name, part in (("value", False), ("contains", True)):
        if name in wanted.model_fields_set:
            one = getattr(wanted, name)
            for path, text in differences(one, _reading(one, message.value), part=part):
                yield (name, *path), text
    found = dict(message.headers)
    for name, header in as_bytes([*wanted.headers.items()]):
        if name not in found:
            yield ("headers", name), "is missing"
        elif found[name] != header:
            yield ("headers", name), f"{found[name]!r} instead of {header!r}"


def _reading(wanted: Any, payload: bytes | None) -> Any:
    """A payload as what it is compared with."""
    taken = list(readings(payload))
    if any(not any(differences(wanted, one, part=False)) for one in taken):
        return wanted
    return next((one for one in taken if type(one) is type(wanted)), taken[0])


# --- dead letters ---


def _letters(
    here: KeyPath, wanted: Sequence[ExpectedLetter], found: Sequence[Letter]
) -> Differences:
    met = _paired(wanted, found, lambda one, letter: not any(_unlike_letter(one, letter)))
    left = [letter for letter in found if letter not in met]
    for place, (one, letter) in enumerate(zip(wanted, met, strict=True)):
        if letter is None:
            message = _nearest(one, [letter.message for letter in left])
            near = next((letter for letter in left if letter.message is message), None)
            unlike = _unlike_letter(one, near) if near is not None else iter(())
            yield from _missed((*here, place), near, unlike)
            left = [letter for letter in left if letter is not near]
    for letter in left:
        yield here, f"one more: {_told_letter(letter)}"


def _unlike_letter(wanted: ExpectedLetter, letter: Letter) -> Differences:
    yield from _unlike_part(wanted, letter.message)
    for name in ("topic", "reason", "error", "attempts"):
        one, found = getattr(wanted, name), getattr(letter, name)
        if one not in (None, found):
            yield (name,), f"{shown(found)} instead of {shown(one)}"


def _told_letter(letter: Letter) -> str:
    why = ", ".join(filter(None, (letter.reason, letter.error, letter.text)))
    return f"{why}, of {letter.topic}[{letter.partition}]@{letter.offset}: {_told(letter.message)}"


# --- retries, offsets, failures ---


def _retries(driver: Driver, here: KeyPath, wanted: Retried) -> Differences:
    handled = {
        origin: delays
        for origin, delays in driver.retries(at(wanted)).items()
        if wanted.pipeline in (None, origin.pipeline)
    }
    if not handled:
        yield here, "no handler was given such a message"
    for origin, delays in handled.items():
        if not _are_like(wanted.delays, delays):
            yield (
                (*here, "delays"),
                f"{_times(delays)} instead of {_times(wanted.delays)}, of {origin}",
            )


def _are_like(wanted: Sequence[float], found: Sequence[float]) -> bool:
    return len(wanted) == len(found) and all(
        abs(one - other) <= max(TOLERANCE, one / 100)
        for one, other in zip(wanted, found, strict=True)
    )


def _times(delays: Sequence[float]) -> str:
    return "[" + ", ".join(united(round(delay, 3)) for delay in delays) + "]"


def _committed(driver: Driver, wanted: Expectations, here: KeyPath) -> Differences:
    for pipeline, topics in wanted.committed.items():
        offsets = driver.committed[pipeline]
        for topic, one in topics.items():
            made = driver.broker.topics.get(topic)
            numbers = range(0 if made is None else len(made.logs))
            each = [offsets.get(TopicPartition(topic, number), 0) for number in numbers]
            found = each if isinstance(one, list) else sum(each)
            if found != one:
                yield (*here, pipeline, topic), f"{found} instead of {one}"


def _failed(driver: Driver, here: KeyPath, wanted: dict[str, str]) -> Differences:
    found = driver.failed
    for pipeline, part in wanted.items():
        if pipeline not in found:
            yield (*here, pipeline), "it has not failed"
        elif part not in found[pipeline]:
            yield (*here, pipeline), f"{shown(found[pipeline])} instead of {shown(part)}"
    for pipeline in (one for one in found if one not in wanted):
        yield here, f"{pipeline} cannot go on: {found[pipeline]}"


# --- pairs ---


def _paired(
    wanted: Sequence[Wanted], found: Sequence[Found], fits: Callable[[Wanted, Found], bool]
) -> list[Found | None]:
    """For each that is wanted the first of those found that fits and no other has; or None."""
    left = list(found)
    pairs: list[Found | None] = []
    for one in wanted:
        pair = next((other for other in left if fits(one, other)), None)
        left = [other for other in left if other is not pair]
        pairs.append(pair)
    return pairs


def _nearest(wanted: Part, left: Sequence[Message]) -> Message | None:
    """What was probably meant: the first that has the key."""
    key = None if wanted.key is None else wanted.key.encode()
    return next((message for message in left if key in (None, message.key)), None)


def _missed(here: KeyPath, near: object | None, unlike: Differences) -> Differences:
    """What is wrong where nothing fits: how the nearest differs, if there is one."""
    if near is None:
        yield here, "there is no such record"
    for path, text in unlike:
        yield (*here, *path), text


def _told(message: Message) -> str:
    key = "no key" if message.key is None else f"key {shown(message.key.decode(errors='replace'))}"
    return f"{key}, {shown(next(readings(message.value)))}"
