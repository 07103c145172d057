"""Tests of a spec, run on a driver."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from worker.app import Options
from worker.errors import BadConfiguration, WorkerError
from worker.settings import Fault, SpecTest
from worker.settings.simulation import Scheduled
from worker.spec import Suite
from worker.spec.tree import KeyPath
from worker.testing.driver import Driver
from worker.testing.faults import ALWAYS
from worker.testing.simulation.promises import broken
from worker.testing.simulation.schedule import schedule_of
from worker.testing.simulation.simulator import simulate
from worker.testing.simulation.stubs import stubbed
from worker.testing.spectests.expecting import at, unmet
from worker.testing.spectests.gathering import gathered
from worker.types import Problem


@dataclass(frozen=True, slots=True)
class Result:
    """What has come of a test."""

    name: str
    place: Problem
    """Where it stands."""
    seconds: float
    differences: Sequence[Problem]
    """What is not as it was to be; nothing of a test that passes."""


class SpecTests:
    """The tests of a suite, with the records, exceptions and resources that they name.

    Raises `BadConfiguration` with everything that cannot be had.
    """

    def __init__(self, suite: Suite, options: Options) -> None:
        self._suite = suite
        self._options = options
        self._named = gathered(suite, options.registry)

    def run(self, name: str) -> Result:
        """Run a test."""
        begun = time.perf_counter()
        found = self._run(name, self._suite.tests[name])
        differences = [self._suite.problem(path, text) for path, text in found]
        place = self._suite.problem(("tests", name), name)
        return Result(name, place, time.perf_counter() - begun, differences)

    def _run(self, name: str, test: SpecTest) -> list[tuple[KeyPath, str]]:
        here: KeyPath = ("tests", name)
        if test.schedule is not None:
            return [((*here, "schedule"), text) for text in self._breaches(test.schedule)]
        found: list[tuple[KeyPath, str]] = []
        resources = self._named.resources[name]
        try:
            with Driver(self._suite.document, self._options, resources=resources) as driver:
                for place, fault in enumerate(test.faults):
                    self._arm(driver, fault, (*here, "faults", place))
                self._give(driver, here)
                for place, step in enumerate(test.steps):
                    driver.advance(step.after)
                    self._give(driver, (*here, "steps", place))
                    found += unmet(driver, step, (*here, "steps", place), at_end=False)
                driver.run()
                found += unmet(driver, test, here, at_end=True)
                found += _never(driver, test, here)
        except BadConfiguration as error:
            found += [(here, str(problem)) for problem in error.problems]
        except WorkerError as error:
            found.append((here, str(error)))
        return found

    def _breaches(self, scheduled: Scheduled) -> list[str]:
        """The promises that a run of the simulator breaks."""
        document, registry = self._suite.document, self._options.registry
        handlers = registry if scheduled.handlers else stubbed(document.spec)
        return [str(one) for one in broken(simulate(document, handlers, schedule_of(scheduled)))]

    def _give(self, driver: Driver, here: KeyPath) -> None:
        for record in self._named.records[(*here, "given")]:
            driver.write(record)
        driver.advance(0.0)

    def _arm(self, driver: Driver, fault: Fault, here: KeyPath) -> None:
        times = ALWAYS if fault.times == "always" else fault.times
        place = at(fault.at)
        if fault.raises is not None:
            driver.fail(self._named.exceptions[here], place, times)
        if fault.refuse is not None:
            driver.refuse(fault.refuse, place, times)
        if fault.revoke is not None:
            driver.revoke(place, times, seconds=fault.revoke)
        if fault.lose is not None:
            driver.lose(place, times)
        if fault.kill is not None:
            driver.kill(place, times, moment=fault.kill)


def _never(driver: Driver, test: SpecTest, here: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """The faults of a test that no record has met, as where `at` has a mistake."""
    for place, (told, fault) in enumerate(zip(test.faults, driver.faults, strict=True)):
        if not fault.happened:
            what = "handler was given" if told.refuse is None else "pipeline has written"
            yield (*here, "faults", place), f"never happened: no {what} such a record"
