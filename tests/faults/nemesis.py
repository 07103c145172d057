"""A run: faults one after the other, each healed and waited for, then everything read back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from tests.faults import left
from tests.faults.certificates import RotatedCertificates
from tests.faults.run import Limits, Phase, Run
from tests.faults.scenarios import SCENARIOS, NotFelt, Scenario
from tests.faults.world import EXACT, INPUT, LEAST, World, made

CALM: Final = (2.0, 6.0)
"""Seconds without a fault, drawn between these, before each."""

Say = Callable[[str], object]


@dataclass(frozen=True)
class Order:
    """What a run is made of; with the same one the same faults are drawn."""

    seed: int
    rate: float
    scenarios: Sequence[str]
    """In this order, and again in another one while there is time left."""
    minutes: float = 0.0
    """How long faults go on at least."""
    limits: Limits = field(default_factory=Limits)
    program: Sequence[str] = ("worker", "run")
    """What runs a spec: the command line, or one with a bug planted."""
    spares: bool = False
    """Whether one worker is never a victim."""
    named: Sequence[str] = ()
    """The scenarios that were asked for by name, as they were."""

    @property
    def line(self) -> str:
        """The command that does the same again."""
        names = self.named if self.spares else self.scenarios
        soak = f" --soak {self.minutes:g}" if self.spares else ""
        chosen = f" --scenarios {','.join(names)}" if names else ""
        return f"python -m tests.faults --seed {self.seed} --rate {self.rate:g}{soak}{chosen}"

    def names(self) -> Iterator[str]:
        """The scenarios one after the other, for as long as they are to go on."""
        deadline = time.monotonic() + 60 * self.minutes
        yield from self.scenarios
        seed = self.seed
        while time.monotonic() < deadline:
            seed += 1
            for name in drawn(seed, self.scenarios, len(self.scenarios)):
                if time.monotonic() < deadline:
                    yield name


def drawn(seed: int, names: Sequence[str], number: int) -> list[str]:
    """So many scenarios by lot, each of the names before one of them comes again."""
    chance = Random(seed)
    found: list[str] = []
    while len(found) < number:
        found += chance.sample(names, len(names))
    return found[:number]


def run(order: Order, folder: Path, say: Say) -> Run:
    """Do what is ordered, and say what has come of it."""
    tls = any(SCENARIOS[name].tls for name in order.scenarios)
    certificates = RotatedCertificates(folder / "certificates").issue() if tls else None
    with made(folder, order.seed, order.rate, order.program, certificates) as world:
        world.spared = world.crew.names[-1] if order.spares else None
        with world.crew:
            world.until_ready()
            world.wait(CALM[1])
            began = time.time()
            phases = [_happen(SCENARIOS[name], world, say) for name in order.names()]
            world.wait(CALM[1])
            world.load.stop()
            say("the input has ended; waiting until everything is through")
            world.recovery()
            _drain(world)
        world.watch.stop()
        world.ledger.write(folder / "ledger.jsonl")
        wanted = int(order.rate * (max(one.healed for one in phases) - began))
        return _read_back(order, world, phases, wanted)


def _happen(one: Scenario, world: World, say: Say) -> Phase:
    world.wait(world.chance.uniform(*CALM))
    began, felt = time.time(), None
    try:
        felt = one.happen(world)
    except NotFelt as error:
        say(f"{one.name}: not felt: {error}")
    healed = time.time()
    progressed, recovered = world.recovery()
    after = "never" if recovered is None else f"after {recovered - healed:.1f} s"
    say(f"{one.name}: {felt or 'nothing felt'}; through {after}")
    return Phase(one.name, began, healed, progressed, recovered, felt, one.leaves, one.bound)


def _drain(world: World) -> None:
    """Let what waits come through, then tell all workers to end."""
    world.until_quiet()
    for name in world.crew.names:
        world.crew.ask_to_stop(name)
    for name in world.crew.names:
        world.crew.until_ended(name)


def _read_back(order: Order, world: World, phases: Sequence[Phase], wanted: int) -> Run:
    address = world.brokers.address
    logs = [world.brokers.logs(node) for node in range(world.brokers.nodes)]
    errors = [text for phase in phases for text in SCENARIOS[phase.scenario].errors]
    return Run(
        fates=world.ledger.fates,
        inputs={**world.deleted, **left.inputs(address, INPUT)},
        outcomes={
            EXACT: left.outcome(address, EXACT, "exactly_once"),
            LEAST: left.outcome(address, LEAST, "at_least_once"),
        },
        progress=[*world.watch.progress, world.now()],
        samples=world.watch.samples,
        exits=left.exits(world.crew),
        phases=phases,
        rate=order.rate,
        wanted=wanted,
        unexpected=[*left.unexpected(world.crew, logs, errors)],
        limits=order.limits,
    )
