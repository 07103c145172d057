"""Many seeds of a spec, in several processes, and what is found in them."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Final

from worker.app import Options, load, unreadable
from worker.engine.heap import collect_rarely
from worker.handlers import Registry
from worker.spec import Document
from worker.spec import load as load_alone
from worker.testing.simulation.drawing import Stage, draw, stage_of
from worker.testing.simulation.history import History
from worker.testing.simulation.promises import Broken, broken
from worker.testing.simulation.schedule import Schedule
from worker.testing.simulation.shrinking import shrink
from worker.testing.simulation.simulator import simulate, simulate_aloud
from worker.testing.simulation.stubs import stubbed

TOGETHER: Final = 5
"""Seeds that a process is given at a time."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """A spec, and how it is simulated."""

    spec: Path
    messages: int
    folders: tuple[str, ...] = ()
    handlers: bool = False
    """Whether handlers are those of the spec, and no stubs."""
    payloads: tuple[bytes, ...] = ()
    """What messages hold, in turn; nothing where there are none."""
    topics: tuple[str, ...] = ()
    """Topics that messages come to besides those that the spec names."""

    def stage(self) -> Stage:
        """What schedules are drawn for; raises `BadConfiguration` or another `WorkerError`."""
        return stage_of(made_of(self)[0].spec, self.topics)

    def schedule(self, seed: int) -> Schedule:
        """The schedule of a seed."""
        schedule = draw(seed, self.messages, self.stage())
        if not self.payloads:
            return schedule
        given = (
            replace(one, value=self.payloads[place % len(self.payloads)])
            for place, one in enumerate(schedule.given)
        )
        return replace(schedule, given=tuple(given))

    def breaches(self, schedule: Schedule) -> list[Broken]:
        """The promises that a schedule breaks."""
        return broken(simulate(*made_of(self), schedule))

    def shortest(self, schedule: Schedule) -> Schedule:
        """The shortest schedule that breaks the first promise which this one breaks."""
        promise = self.breaches(schedule)[0].promise

        def breaks(shorter: Schedule) -> bool:
            return any(one.promise == promise for one in self.breaches(shorter))

        return shrink(schedule, breaks)

    def told(self, schedule: Schedule) -> History:
        """A run with what the worker logs in it."""
        return simulate_aloud(*made_of(self), schedule)


@lru_cache(maxsize=1)
def made_of(campaign: Campaign) -> tuple[Document, Registry]:
    """The spec and the handlers; raises `BadConfiguration`."""
    if campaign.handlers:
        options = Options(path=campaign.folders)
        return load(campaign.spec, os.environ, options, unreadable), options.registry
    document = load_alone(campaign.spec, os.environ)
    return document, stubbed(document.spec)


def breaches_of(campaign: Campaign, seeds: Sequence[int]) -> list[tuple[int, list[Broken]]]:
    """The promises that some seeds break, each with its own; it has a process of its own.

    What handlers print goes to standard error.
    """
    logging.disable()
    with redirect_stdout(sys.stderr):
        return [(seed, campaign.breaches(campaign.schedule(seed))) for seed in seeds]


def search(campaign: Campaign, seeds: Sequence[int]) -> Iterator[tuple[int, list[Broken]]]:
    """The same in as many processes as there are cores, as they come.

    Who asks for no more, or is told of an error, ends them at once, whatever they do: handlers of
    users may hang.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    parts = [seeds[place : place + TOGETHER] for place in range(0, len(seeds), TOGETHER)]
    number = min(os.cpu_count() or 1, len(parts))
    with ProcessPoolExecutor(number, context, _begin) as processes:
        found = [processes.submit(breaches_of, campaign, part) for part in parts]
        try:
            for part in found:
                yield from part.result()
        except BaseException:
            for child in active_children():
                child.kill()
            raise


def _begin() -> None:
    """What a process does first; Ctrl-C is for the one that has asked."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    collect_rarely()
