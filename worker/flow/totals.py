"""The states of several processes, taken together.

Counters never fall: what a process or a client had counted before it was replaced stays in the
totals. Of conditions the worst counts, so that a pipeline runs when it runs in every process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final

from worker.flow.failures import merged
from worker.flow.health import (
    Counts,
    Overrunning,
    PartitionState,
    PipelineState,
    PipelineStatus,
    ProcessState,
    Snapshot,
)
from worker.flow.timing import Histogram, added
from worker.types import BrokerTotals, ClientTotals

WORST_FIRST: Final[tuple[PipelineStatus, ...]] = (
    "failed",
    "starting",
    "joining",
    "draining",
    "stopped",
    "running",
)

Numbered = Sequence[tuple[int, PipelineState]]
"""States of one pipeline and the indexes of their processes."""


def reported(process: ProcessState, snapshot: Snapshot) -> ProcessState:
    """The process after it has told its state."""
    before = process.snapshot
    replaced = () if before is None else _replaced(before.pipelines, snapshot.pipelines)
    return replace(process, snapshot=snapshot, earlier=_with(process.earlier, replaced))


def ended(process: ProcessState, how: str) -> ProcessState:
    """The process after its end."""
    last = () if process.snapshot is None else process.snapshot.pipelines
    earlier = _with(process.earlier, last)
    return replace(process, pid=None, snapshot=None, ended=how, earlier=earlier)


def totals(processes: Sequence[ProcessState], now: float) -> tuple[PipelineState, ...]:
    """The pipelines of all processes that run, with what earlier ones had counted.

    While one is missing, its partitions are nobody's, so that a pipeline does not count as joined.
    """
    found: dict[str, list[tuple[int, PipelineState]]] = {}
    for process in processes:
        for state in () if process.snapshot is None else process.snapshot.pipelines:
            found.setdefault(state.name, []).append((process.index, state.as_of(now)))
    earlier = [process.earlier for process in processes]
    everyone = all(process.snapshot is not None for process in processes)
    return tuple(
        _total(states, [past[name] for past in earlier if name in past], everyone=everyone)
        for name, states in found.items()
    )


def _replaced(
    before: Iterable[PipelineState], now: Iterable[PipelineState]
) -> Iterable[PipelineState]:
    """What clients had counted whose numbers begin anew."""
    current = {state.name: state.clients for state in now}
    for state in before:
        clients = {
            name: totals
            for name, totals in state.clients.items()
            if (new := current.get(state.name, {}).get(name)) and new.requests < totals.requests
        }
        yield PipelineState(state.name, state.group, state.status, clients=clients)


def _with(
    earlier: Mapping[str, PipelineState], ended: Iterable[PipelineState]
) -> Mapping[str, PipelineState]:
    """Earlier totals and those of states that are over; what was true for a moment only goes."""
    result = dict(earlier)
    for state in ended:
        parts = [result[state.name], state] if state.name in result else [state]
        counts = _counts([part.counts for part in parts])
        past = {name: _past(totals) for name, totals in _clients(parts).items()}
        result[state.name] = PipelineState(
            state.name,
            state.group,
            "stopped",
            counts=counts,
            clients=past,
            failures=merged(one for part in parts for one in part.failures),
        )
    return result


def _past(totals: ClientTotals) -> ClientTotals:
    return replace(totals, queued=0, brokers={}, round_trips={})


def _total(
    numbered: Numbered, earlier: Sequence[PipelineState], *, everyone: bool
) -> PipelineState:
    states = [state for _, state in numbered]
    return PipelineState(
        states[0].name,
        states[0].group,
        min((state.status for state in states), key=WORST_FIRST.index),
        joined=everyone and all(state.joined for state in states),
        connected=all(state.connected for state in states),
        coordinated=all(state.coordinated for state in states),
        silent_for=_longest(state.silent_for for state in states),
        joining_for=_longest(state.joining_for for state in states),
        denied=_first(numbered, lambda state: state.denied),
        renewed=_first(numbered, lambda state: state.renewed),
        unmatched=tuple(dict.fromkeys(one for state in states for one in state.unmatched)),
        missing=tuple(dict.fromkeys(topic for state in states for topic in state.missing)),
        blocked=_first(numbered, lambda state: state.blocked),
        hindered=_first(numbered, lambda state: state.hindered),
        breaker_open=_first(numbered, lambda state: state.breaker_open),
        timeout=states[0].timeout,
        overrunning=_longest_first(one for state in states for one in state.overrunning),
        longest=next(iter(_longest_first(s.longest for s in states if s.longest)), None),
        failed=_first(numbered, lambda state: state.failed),
        last_error=_first(numbered, lambda state: state.last_error),
        stepped=min(state.stepped for state in states),
        patience=max(state.patience for state in states),
        in_flight=sum(state.in_flight for state in states),
        in_flight_bytes=sum(state.in_flight_bytes for state in states),
        received_rate=sum(state.received_rate for state in states),
        produced_rate=sum(state.produced_rate for state in states),
        counts=_counts([state.counts for state in (*earlier, *states)]),
        partitions=_partitions(states),
        clients=_clients([*earlier, *states]),
        flow=states[0].flow,
        failures=merged(one for state in (*earlier, *states) for one in state.failures),
    )


def _first(numbered: Numbered, text: Callable[[PipelineState], str | None]) -> str | None:
    found = ((index, text(state)) for index, state in numbered)
    return next((f"process {index}: {said}" for index, said in found if said is not None), None)


def _longest(seconds: Iterable[float | None]) -> float | None:
    return max((one for one in seconds if one is not None), default=None)


def _longest_first(found: Iterable[Overrunning]) -> tuple[Overrunning, ...]:
    return tuple(sorted(found, key=lambda one: -one.seconds))


def _counts(parts: Sequence[Counts]) -> Counts:
    return Counts(**_added(parts, [field.name for field in fields(Counts)]))


def _partitions(states: Sequence[PipelineState]) -> tuple[PartitionState, ...]:
    """Each partition once: while it moves, two processes may both tell of it."""
    found: dict[tuple[str, int], PartitionState] = {}
    for state in states:
        for partition in state.partitions:
            place = (partition.topic, partition.partition)
            other = found.get(place)
            if other is None or partition.committable > other.committable:
                found[place] = partition
    return tuple(found[place] for place in sorted(found))


def _clients(states: Sequence[PipelineState]) -> dict[str, ClientTotals]:
    names = dict.fromkeys(name for state in states for name in state.clients)
    return {
        name: _client([state.clients[name] for state in states if name in state.clients])
        for name in names
    }


_CLIENT_NUMBERS: Final = [
    field.name
    for field in fields(ClientTotals)
    if field.name not in {"brokers", "round_trips", "traffic"}
]
_BROKER_NUMBERS: Final = [field.name for field in fields(BrokerTotals)]


def _client(parts: Sequence[ClientTotals]) -> ClientTotals:
    """Numbers are added; of a broker the worst state and the longest answer count."""
    brokers: dict[str, str] = {}
    round_trips: dict[str, float | None] = {}
    for part in parts:
        for address, state in part.brokers.items():
            if brokers.get(address, "UP") == "UP":
                brokers[address] = state
        for address, seconds in part.round_trips.items():
            known = [one for one in (round_trips.get(address), seconds) if one is not None]
            round_trips[address] = max(known, default=None)
    numbers = _added(parts, _CLIENT_NUMBERS)
    traffic = _traffic(parts)
    return ClientTotals(**numbers, brokers=brokers, round_trips=round_trips, traffic=traffic)


def _traffic(parts: Sequence[ClientTotals]) -> dict[str, BrokerTotals]:
    addresses = dict.fromkeys(address for part in parts for address in part.traffic)
    return {
        address: BrokerTotals(
            **_added([p.traffic[address] for p in parts if address in p.traffic], _BROKER_NUMBERS)
        )
        for address in addresses
    }


def _added(parts: Sequence[object], names: Iterable[str]) -> dict[str, Any]:
    """The sums of fields, which are numbers, numbers by key, or histograms."""
    return {name: _sum([getattr(part, name) for part in parts]) for name in names}


def _sum(values: Sequence[Any]) -> Any:
    if isinstance(values[0], Histogram):
        return added(values)
    if not isinstance(values[0], dict):
        return sum(values)
    keys = dict.fromkeys(key for value in values for key in value)
    return {key: sum(value.get(key, 0) for value in values) for key in keys}
