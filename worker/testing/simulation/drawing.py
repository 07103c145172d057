"""Schedules drawn by a seed, for what a spec has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from random import Random
from typing import Final

from worker.app import dead_letter_topics
from worker.errors import WorkerError
from worker.settings import Spec
from worker.settings.patterns import is_pattern, reads
from worker.settings.simulation import Call, Kind
from worker.testing.calls import CALLS
from worker.testing.simulation.schedule import KINDS, Event, Given, Schedule

MOST_EVENTS: Final = 12
WITHOUT_KEY: Final = 0.1
"""Of so many messages one is without a key."""
HOLES: Final = (*[0] * 20, 1, 5)
"""Of offsets without a record, behind a message."""
AT_HANDLERS: Final[Mapping[Kind, Call]] = {"raise": "handle", "reject": "handle", "slow": "poll"}
"""Where such a thing can happen alone."""
OF_TRANSACTIONS: Final[frozenset[Call]] = frozenset({"abort", "begin", "take_over"})
"""Calls of pipelines that write in transactions."""
RARE: Final[Mapping[Call, int]] = {
    "abort": 20,
    "begin": 8,
    "commit": 8,
    "committed": 100,
    "find": 100,
    "pause": 50,
    "poll": 2,
    "resume": 50,
    "seek": 100,
    "serve": 2,
    "take_over": 100,
}
"""To how many messages there is one such call, about."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What schedules have to know of a spec."""

    sources: Sequence[str]
    """Topics that messages come to."""
    pipelines: Mapping[str, Sequence[Kind]]
    """Each with what may go wrong with it."""
    transactions: frozenset[str]
    """Those that write in such."""
    session: float
    """Seconds after which a member that is not heard of is taken for dead."""


def stage_of(spec: Spec, topics: Sequence[str] = ()) -> Stage:
    """What a spec has, and topics besides that messages come to, for what reads by a pattern.

    Raises `WorkerError` where a pipeline would have nothing to read, and for a topic nobody reads.
    """
    made = {pipeline.to for pipeline in spec.pipelines.values()}
    made |= set(dead_letter_topics(spec))
    read = dict.fromkeys(topic for one in spec.pipelines.values() for topic in one.source)
    first = [topic for topic in read if topic not in made] or [*read]
    sources = [*(topic for topic in first if not is_pattern(topic)), *topics]
    _require_readers(spec, topics)
    _require_sources(spec, [*sources, *made])
    transactions = frozenset(
        name for name, one in spec.pipelines.items() if one.delivery == "exactly_once"
    )
    return Stage(
        sources,
        {name: _kinds(spec, name) for name in spec.pipelines},
        transactions,
        spec.kafka.group.session_timeout,
    )


def _require_readers(spec: Spec, topics: Sequence[str]) -> None:
    sources = [source for one in spec.pipelines.values() for source in one.source]
    unread = [topic for topic in topics if not reads(sources, topic)]
    if unread:
        raise WorkerError(f"no pipeline reads {', '.join(unread)}; they read {', '.join(sources)}")


def _require_sources(spec: Spec, topics: Sequence[str | None]) -> None:
    there = [topic for topic in topics if topic is not None]
    for name, one in spec.pipelines.items():
        if not any(reads(one.source, topic) for topic in there):
            patterns = ", ".join(one.source)
            raise WorkerError(
                f"pipeline {name} reads what matches {patterns}, and the spec names no such topic; "
                "name one that messages come to: --topic NAME"
            )


def _kinds(spec: Spec, name: str) -> Sequence[Kind]:
    """What may go wrong without the pipeline being right to give up."""
    pipeline = spec.pipelines[name]
    without: set[Kind] = set() if pipeline.delivery == "exactly_once" else {"fence"}
    if pipeline.dead_letter is None:
        without |= {"refuse"}
        if pipeline.on_error != "skip":
            without |= {"reject", "raise"}
    return [kind for kind in KINDS if kind not in without]


def draw(seed: int, messages: int, stage: Stage) -> Schedule:
    """The schedule of a seed, with so many messages."""
    chance = Random(seed)  # noqa: S311 - it is to be foreseen
    processes = chance.choice([1, 2, 2, 3])
    pace = chance.choice([0.0, 0.0, 0.02, 0.3])
    given = _given(chance, messages, stage)
    events = [_event(chance, messages, stage) for _ in range(chance.randint(0, MOST_EVENTS))]
    return Schedule(seed, processes, pace, given, tuple(events))


def _given(chance: Random, messages: int, stage: Stage) -> tuple[Given, ...]:
    keys, bursts = chance.choice([3, 50]), chance.choice([1, 8, 30])
    gap = chance.choice([0.01, 0.3, 2.0])
    return tuple(
        Given(
            chance.choice(stage.sources),
            None if chance.random() < WITHOUT_KEY else f"k{chance.randrange(keys)}",
            chance.choice([1, 1, 1, 1, 0, 2]),
            round(gap * (number * bursts // messages), 3),
            chance.choice(HOLES),
        )
        for number in range(messages)
    )


def _event(chance: Random, messages: int, stage: Stage) -> Event:
    name = chance.choice([*stage.pipelines])
    what = chance.choice(stage.pipelines[name])
    calls = [one for one in CALLS if name in stage.transactions or one not in OF_TRANSACTIONS]
    call = AT_HANDLERS[what] if what in AT_HANDLERS else chance.choice(calls)
    most = max(3, messages // RARE.get(call, 1))
    number = int(exp(chance.uniform(0, log(most))))
    seconds = round(_seconds(chance, what, stage.session), 3)
    return Event(
        what, name, call, number, seconds, chance.choice([1, 1, 2, 3]) if _often(what) else 1
    )


def _seconds(chance: Random, what: Kind, session: float) -> float:
    match what:
        case "pause" | "outage":
            return chance.choice([0.2, session / 2, 1.5 * session, 6 * session])
        case "hold" | "revoke" | "slow":
            return chance.choice([0.05, 1.0, session, 3 * session])
        case "jump":
            return chance.choice([-3600.0, -5.0, 5.0, 3600.0])
    return 0.0


def _often(what: Kind) -> bool:
    return what in {"raise", "refuse commits", "time out"}
