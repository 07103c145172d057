"""What tests of a spec name: records, exceptions and resources, found before any test runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from worker.errors import BadConfiguration
from worker.handlers import Registry
from worker.kafka.lines import Unreadable, lines_of
from worker.kafka.written import BadLine, from_json
from worker.settings import Given
from worker.spec import Suite, in_order
from worker.spec.testfile import is_file
from worker.spec.tree import KeyPath
from worker.testing.memory.broker import PARTITIONS
from worker.testing.spectests.named import Unknown, exception, thing
from worker.types import Encoded, Problem


@dataclass(frozen=True, slots=True)
class Gathered:
    """What the tests of a suite name, by where they do."""

    records: Mapping[KeyPath, Sequence[Encoded]]
    """By each `given`."""
    exceptions: Mapping[KeyPath, BaseException]
    """By each fault."""
    resources: Mapping[str, Mapping[str, Any]]
    """By each test what takes the place of resources."""


def gathered(suite: Suite, registry: Registry) -> Gathered:
    """Find all of it; raises `BadConfiguration` with everything that cannot be had.

    Files that are not there are among the mistakes of the suite.
    """
    gatherer = _Gatherer(suite, registry)
    found = gatherer.all()
    if gatherer.problems:
        raise BadConfiguration(in_order(gatherer.problems))
    return found


def all_given(suite: Suite) -> Iterator[tuple[KeyPath, Mapping[str, Sequence[Given]]]]:
    """What is given at each place, by topic."""
    for name, test in suite.tests.items():
        yield ("tests", name, "given"), test.given
        for place, step in enumerate(test.steps):
            yield ("tests", name, "steps", place, "given"), step.given


class _Gatherer:
    def __init__(self, suite: Suite, registry: Registry) -> None:
        self.problems: list[Problem] = []
        self._suite = suite
        self._registry = registry

    def all(self) -> Gathered:
        common = self._resources(("resources",), self._suite.resources)
        return Gathered(
            {path: [*self._records(path, given)] for path, given in all_given(self._suite)},
            dict(self._exceptions()),
            {
                name: common | self._resources(("tests", name, "resources"), test.resources)
                for name, test in self._suite.tests.items()
            },
        )

    # --- records ---

    def _records(self, here: KeyPath, given: Mapping[str, Sequence[Given]]) -> Iterator[Encoded]:
        for topic, records in given.items():
            for place, record in enumerate(records):
                path = (*here, topic, place)
                if record.file is None:
                    yield from self._written(topic, record, path)
                elif is_file(self._suite.folder / record.file):
                    yield from self._kept(topic, record.file, path)

    def _written(self, topic: str, given: Given, here: KeyPath) -> Iterator[Encoded]:
        line = orjson.dumps(given.model_dump(exclude_unset=True))
        for record in self._parsed(topic, line, here):
            if self._has_place(record):
                yield record
            else:
                words = f"{record.partition}; {topic!r} has {PARTITIONS}: declare more of it"
                self._note((*here, "partition"), words)

    def _kept(self, topic: str, name: str, here: KeyPath) -> Iterator[Encoded]:
        """The records of a file; where theirs is not there they lie in the partition of the key."""
        try:
            with (self._suite.folder / name).open("rb") as file:
                for number, line in lines_of(file, name):
                    for record in self._parsed(topic, line, here, f"{name}:{number}: "):
                        has_place = self._has_place(record)
                        yield record if has_place else replace(record, partition=None)
        except (OSError, Unreadable) as error:
            self._note(here, str(error))

    def _parsed(self, topic: str, line: bytes, here: KeyPath, where: str = "") -> Iterator[Encoded]:
        try:
            yield from_json(topic)(line)
        except BadLine as error:
            for problem in error.problems:
                self._note(here, where + problem)

    def _has_place(self, record: Encoded) -> bool:
        """Whether the topic of a record has its partition, if it names one."""
        declared = self._suite.document.spec.topics.get(record.topic)
        number = (None if declared is None else declared.partitions) or PARTITIONS
        return (record.partition or 0) < number

    # --- exceptions and resources ---

    def _exceptions(self) -> Iterator[tuple[KeyPath, BaseException]]:
        for name, test in self._suite.tests.items():
            for place, fault in enumerate(test.faults):
                here: KeyPath = ("tests", name, "faults", place)
                if fault.raises is None or self._suite.lacks((*here, "text")):
                    continue
                try:
                    yield here, exception(fault.raises, fault.text)
                except Unknown as error:
                    self._note((*here, "raise"), str(error))

    def _resources(self, here: KeyPath, named: Mapping[str, str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self._suite.document.lacks("handlers"):
            return found
        for name, where in named.items():
            try:
                self._require_resource(name)
                found[name] = thing(where)
            except Unknown as error:
                self._note((*here, name), str(error))
        return found

    def _require_resource(self, name: str) -> None:
        known = self._registry.resources
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            there = f"there are {', '.join(known) or 'none'}"
            hint = f"did you mean {near[0]!r}?" if near else there
            raise Unknown(f"no resource is named {name!r}; {hint}")

    def _note(self, here: KeyPath, text: str) -> None:
        self.problems.append(self._suite.problem(here, text))
