"""Tests of a spec, run on a driver."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from worker.app import Options
from worker.errors import BadConfiguration, WorkerError
from worker.kafka.lines import Unreadable, lines_of
from worker.kafka.written import BadLine, from_json
from worker.settings import Fault, Given, SpecTest
from worker.spec import Suite, in_order
from worker.spec.tree import KeyPath
from worker.testing.driver import Driver
from worker.testing.expecting import at, unmet
from worker.testing.faults import ALWAYS
from worker.testing.memory import PARTITIONS
from worker.testing.named import Unknown, exception, thing
from worker.types import Encoded, Problem


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
        self._problems: list[Problem] = []
        self._given = {path: self._records(path, given) for path, given in all_given(suite)}
        self._errors = dict(self._exceptions())
        common = self._things(("resources",), suite.resources)
        self._resources = {
            name: {**common, **self._things(("tests", name, "resources"), test.resources)}
            for name, test in suite.tests.items()
        }
        if self._problems:
            raise BadConfiguration(in_order(self._problems))

    def run(self, name: str) -> Result:
        """Run a test."""
        begun = time.perf_counter()
        found = self._run(name, self._suite.tests[name])
        differences = [self._suite.problem(path, text) for path, text in found]
        place = self._suite.problem(("tests", name), name)
        return Result(name, place, time.perf_counter() - begun, differences)

    def _run(self, name: str, test: SpecTest) -> list[tuple[KeyPath, str]]:
        here: KeyPath = ("tests", name)
        found: list[tuple[KeyPath, str]] = []
        resources = self._resources[name]
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
        except BadConfiguration as error:
            found += [(here, str(problem)) for problem in error.problems]
        except WorkerError as error:
            found.append((here, str(error)))
        return found

    def _give(self, driver: Driver, here: KeyPath) -> None:
        for record in self._given.get((*here, "given"), ()):
            driver.write(record)
        driver.advance(0.0)

    def _arm(self, driver: Driver, fault: Fault, here: KeyPath) -> None:
        times = ALWAYS if fault.times == "always" else fault.times
        place = at(fault.at)
        if fault.raises is not None:
            driver.fail(self._errors[here], place, times)
        if fault.refuse is not None:
            driver.refuse(fault.refuse, place, times)
        if fault.revoke is not None:
            driver.revoke(place, times, seconds=fault.revoke)
        if fault.lose is not None:
            driver.lose(place, times)
        if fault.kill is not None:
            driver.kill(place, times, moment=fault.kill)

    # --- what tests name ---

    def _records(self, here: KeyPath, given: Mapping[str, Sequence[Given]]) -> list[Encoded]:
        found: list[Encoded] = []
        for topic, records in given.items():
            for place, record in enumerate(records):
                found += self._of(topic, record, (*here, topic, place))
        return found

    def _of(self, topic: str, given: Given, here: KeyPath) -> Iterator[Encoded]:
        parse = from_json(topic)
        if given.file is None:
            line = orjson.dumps(given.model_dump(exclude_unset=True))
            for record in self._parsed(parse, line, here, ""):
                if self._lacks(record):
                    words = f"{record.partition}; {topic!r} has {PARTITIONS}: declare more of it"
                    self._note((*here, "partition"), words)
                yield record
            return
        path = self._suite.folder / given.file
        try:
            with path.open("rb") as file:
                for number, line in lines_of(file, given.file):
                    where = f"{given.file}:{number}: "
                    for record in self._parsed(parse, line, here, where):
                        yield replace(record, partition=None) if self._lacks(record) else record
        except (OSError, Unreadable) as error:
            self._note(here, str(error))

    def _parsed(
        self, parse: Callable[[bytes], Encoded], line: bytes, here: KeyPath, where: str
    ) -> Iterator[Encoded]:
        try:
            yield parse(line)
        except BadLine as error:
            for problem in error.problems:
                self._note(here, where + problem)

    def _lacks(self, record: Encoded) -> bool:
        """Whether the topic of a record has not so many partitions."""
        declared = self._suite.document.spec.topics.get(record.topic)
        number = (None if declared is None else declared.partitions) or PARTITIONS
        return (record.partition or 0) >= number

    def _exceptions(self) -> Iterator[tuple[KeyPath, BaseException]]:
        for name, test in self._suite.tests.items():
            for place, fault in enumerate(test.faults):
                if fault.raises is not None:
                    here: KeyPath = ("tests", name, "faults", place)
                    try:
                        yield here, exception(fault.raises, fault.text)
                    except Unknown as error:
                        self._note((*here, "raise"), str(error))

    def _things(self, here: KeyPath, named: Mapping[str, str]) -> dict[str, Any]:
        found = {}
        for name, where in named.items():
            if name not in self._options.registry.resources:
                self._note((*here, name), _no_resource(name, self._options.registry.resources))
                continue
            try:
                found[name] = thing(where)
            except Unknown as error:
                self._note((*here, name), str(error))
        return found

    def _note(self, here: KeyPath, text: str) -> None:
        self._problems.append(self._suite.problem(here, text))


def all_given(suite: Suite) -> Iterator[tuple[KeyPath, Mapping[str, Sequence[Given]]]]:
    """What is given at each place, by topic."""
    for name, test in suite.tests.items():
        yield ("tests", name, "given"), test.given
        for place, step in enumerate(test.steps):
            yield ("tests", name, "steps", place, "given"), step.given


def _no_resource(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none'}"
    return f"no resource is named {name!r}; {hint}"
