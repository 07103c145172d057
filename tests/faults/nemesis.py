"""A run: faults one after the other, each healed and waited for, then everything read back."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from tests.faults import left
from tests.faults.certificates import RotatedCertificates
from tests.faults.judge import AFTERMATH
from tests.faults.run import Limits, Outcome, Phase, Run
from tests.faults.scenarios import SCENARIOS, NotFelt, Scenario
from tests.faults.world import EXACT, INPUT, LEAST, PIPELINES, Stuck, World, made

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


@dataclass
class Course:
    """How a run goes: its faults, and what has kept it from going on."""

    say: Say
    phases: list[Phase] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    """What did not come back, and was waited for in vain."""
    broken: list[str] = field(default_factory=list)
    """What has failed of the harness itself."""

    @property
    def is_stopped(self) -> bool:
        """Whether no further fault would say anything."""
        return bool(self.stuck or self.broken)

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """Note what ends the block, and go on behind it."""
        try:
            yield
        except Stuck as error:
            self.stuck.append(f"{what}: {error}")
            self.say(self.stuck[-1])
        except Exception as error:  # noqa: BLE001 - whatever it is, there is to be a verdict
            first = str(error).partition("\n")[0]
            self.broken.append(f"{what}: {type(error).__name__}: {first}")
            self.say(traceback.format_exc())


def run(order: Order, folder: Path, say: Say) -> Run:
    """Do what is ordered, as far as it goes, and say what has come of it."""
    tls = any(SCENARIOS[name].tls for name in order.scenarios)
    certificates = RotatedCertificates(folder / "certificates").issue() if tls else None
    course = Course(say)
    with made(folder, order.seed, order.rate, order.program, certificates) as world:
        world.spared = world.crew.names[-1] if order.spares else None
        with world.crew:
            with course.noting("the start"):
                world.until_ready()
                world.wait(CALM[1])
            began = time.time()
            for name in order.names():
                if course.is_stopped:
                    break
                course.phases.append(happen(SCENARIOS[name], world, course))
            world.wait(CALM[1])
            _drain(world, course)
        world.watch.stop()
        world.ledger.write(folder / "ledger.jsonl")
        ended = max((one.healed for one in course.phases), default=began)
        return _read_back(order, world, course, int(order.rate * (ended - began)))


def happen(one: Scenario, world: World, course: Course) -> Phase:
    """Have a fault happen after a while, and wait until all has recovered from it.

    In the end every worker is ready, so that a fault meets all of them.
    """
    world.wait(world.chance.uniform(*CALM) + _lingers(one, course.phases))
    began, felt = time.time(), None
    with course.noting(one.name):
        try:
            felt = one.happen(world)
        except NotFelt as error:
            course.say(f"{one.name}: not felt: {error}")
    if course.is_stopped:
        felt = "it stopped the run"
        with course.noting(f"to mend what {one.name} has left"):
            world.mend()
    healed = time.time()
    progressed, recovered = None, None
    with course.noting(f"{one.name}, to recover"):
        progressed, recovered = world.recovery()
        world.until_ready()
    after = "never" if recovered is None else f"after {recovered - healed:.1f} s"
    course.say(f"{one.name}: {felt or 'nothing felt'}; through {after}")
    return Phase(one.name, began, healed, progressed, recovered, felt, one.leaves, one.bound)


def _lingers(one: Scenario, before: Sequence[Phase]) -> float:
    """Seconds for which faults may still have something come again, which one that leaves nothing
    is not to be excused by.
    """
    if one.leaves != "nothing":
        return 0.0
    over = (phase.recovered or phase.healed for phase in before if phase.leaves != "nothing")
    return max(0.0, max(over, default=0.0) + AFTERMATH - time.time())


def _drain(world: World, course: Course) -> None:
    """End the input, let what waits come through, then tell all workers to end."""
    with course.noting("to end the input"):
        world.load.stop()
    course.say("the input has ended; waiting until everything is through")
    with course.noting("to come through"):
        world.recovery()
    with course.noting("to empty the retry topics"):
        world.until_quiet()
    for name in world.crew.names:
        world.crew.ask_to_stop(name)
    for name in world.crew.names:
        world.crew.until_ended(name)


def _read_back(order: Order, world: World, course: Course, wanted: int) -> Run:
    address = world.brokers.address
    logs = [world.brokers.logs(node) for node in range(world.brokers.nodes)]
    errors = [text for phase in course.phases for text in SCENARIOS[phase.scenario].errors]
    inputs, progress = {**world.deleted}, [*world.watch.progress]
    outcomes: dict[str, Outcome] = {}
    with course.noting("to read everything back"):
        inputs.update(left.inputs(address, INPUT))
        outcomes[EXACT] = left.outcome(address, EXACT, "exactly_once")
        outcomes[LEAST] = left.outcome(address, LEAST, "at_least_once")
        progress.append(world.now())
    return Run(
        fates=world.ledger.fates,
        inputs=inputs,
        outcomes=outcomes,
        progress=progress,
        samples=world.watch.samples,
        exits=left.exits(world.crew),
        phases=course.phases,
        rate=order.rate,
        wanted=wanted,
        unexpected=[*left.unexpected(world.crew, logs, errors)],
        stuck=course.stuck,
        broken=course.broken,
        is_read=len(outcomes) == len(PIPELINES) and len(progress) > len(world.watch.progress),
        limits=order.limits,
    )
