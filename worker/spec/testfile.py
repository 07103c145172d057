"""Files of tests beside a spec: what is checked of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from worker.settings import Model, Spec
from worker.settings.patterns import is_pattern
from worker.settings.values import Version
from worker.spec.tree import KeyPath


class TestRecord(Model):
    """A record that is given or expected."""

    __test__ = False

    value: Any = Field(description="Payload, as YAML.")
    key: str | None = Field(None, description="Key.")
    headers: dict[str, str] = Field({}, description="Headers.")


Records = dict[str, list[TestRecord]]


class TestCase(Model):
    """One test: records in, records out, by topic."""

    __test__ = False

    given: Records = Field(description="Records that are written, by topic.")
    expect: Records = Field(description="Records that must come out, by topic.")


class TestFile(Model):
    """A file of tests."""

    __test__ = False

    version: Version = Field(description="Version of the format.")
    spec: str = Field(min_length=1, description="The spec under test, relative to this file.")
    tests: Annotated[dict[str, TestCase], Field(min_length=1)] = Field(
        description="The tests by their names."
    )

    def topics(self) -> Iterator[tuple[KeyPath, str]]:
        """Every topic that is used, with the path of its key."""
        for name, test in self.tests.items():
            for part, records in (("given", test.given), ("expect", test.expect)):
                for topic in records:
                    yield ("tests", name, part, topic), topic


def topics_of(spec: Spec) -> list[str]:
    """Every topic that a spec names."""
    names = set(spec.topics)
    for pipeline in spec.pipelines.values():
        names.update(topic for topic in pipeline.source if not is_pattern(topic))
        if pipeline.to is not None:
            names.add(pipeline.to)
        if pipeline.dead_letter is not None:
            names.update(pipeline.dead_letter.topics)
    return sorted(names)
