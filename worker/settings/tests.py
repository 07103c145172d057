"""Tests of a spec: what is given, what goes wrong, and what has to come of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from worker.settings.simulation import Scheduled
from worker.settings.values import NAME, Duration, ExceptionName, Model, ModuleName, Topic, Version

Number = Annotated[int, Field(ge=0)]
Pipelines = Annotated[str, Field(pattern=NAME)]

FAULTS = ("raise", "refuse", "revoke", "lose", "kill")
"""The keys that say what goes wrong."""


class Given(Model):
    """A record that is written, or a file of some."""

    value: Any = Field(
        None,
        description="Payload: a text as it is, other YAML as JSON, `{base64: ...}` for bytes, null "
        "for none.",
    )
    key: str | None = Field(None, description="Key.")
    headers: dict[str, str] = Field({}, description="Headers.")
    partition: Number | None = Field(
        None, description="Partition; without one the key says where the record goes."
    )
    timestamp: int | str | None = Field(
        None,
        description="Its time: milliseconds since 1970, or a text such as 2026-01-31T12:00:00Z; by "
        "default that of the test's clock.",
    )
    file: str | None = Field(
        None,
        min_length=1,
        description="A file of records, relative to this one, as `worker capture` writes them and "
        "`worker produce --format json` reads them; in place of the other keys.",
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.file is None and "value" not in self.model_fields_set:
            raise ValueError("give value, null for a record without one, or file")
        if self.file is not None and len(self.model_fields_set) > 1:
            raise ValueError("file takes the place of all other keys")
        return self


class Part(Model):
    """Which records are meant: what is not said may be anything."""

    key: str | None = Field(None, description="The key.")
    value: Any = Field(None, description="The whole payload.")
    contains: Any = Field(
        None,
        description="What the payload has in it: of objects the keys that are named, at any depth; "
        "of texts a part.",
    )
    headers: dict[str, str | None] = Field({}, description="Headers that it has among others.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if {"value", "contains"} <= self.model_fields_set:
            raise ValueError("value and contains exclude each other")
        return self

    @property
    def says_value(self) -> bool:
        """Whether the payload as a whole is told, be it none."""
        return "value" in self.model_fields_set


class Expected(Part):
    """A record that has to come out."""

    partition: Number | None = Field(None, description="The partition that it lies in.")


class ExpectedLetter(Part):
    """A dead letter that has to come out."""

    topic: Topic | None = Field(None, description="The topic that the message was read from first.")
    reason: str | None = Field(None, description="Why, as `dlq.reason` says.")
    error: str | None = Field(None, description="The exception's class, as `dlq.error` says.")
    attempts: Number | None = Field(None, description="How often it was tried.")


class Spot(Part):
    """Which messages are meant, by where they were read first."""

    topic: Topic | None = Field(None, description="The topic.")
    partition: Number | None = Field(None, description="The partition.")
    offset: Number | None = Field(None, description="The offset.")


class Retried(Spot):
    """Messages that were tried again, and when."""

    pipeline: Pipelines | None = Field(None, description="The pipeline that has tried them.")
    delays: list[Duration] = Field(
        description="The times between the attempts of each; none where there was one attempt."
    )


class Fault(Model):
    """Something that goes wrong, with the first records that are meant."""

    at: Spot = Field(
        Spot(), description="With which records: those that handlers are given, or are written."
    )
    times: Annotated[int, Field(ge=1)] | Literal["always"] = Field(1, description="How often.")
    raises: ExceptionName | None = Field(
        None, alias="raise", description="The handler raises this exception."
    )
    text: str | None = Field(None, description="What the exception says.")
    refuse: str | None = Field(
        None,
        pattern=r"^_?[A-Z][A-Z0-9_]{1,60}$",
        description="The brokers refuse to write the record, with this error of Kafka.",
    )
    revoke: Duration | None = Field(
        None, description="The group takes the partition away, for so long."
    )
    lose: Literal[True] | None = Field(
        None, description="The group takes the worker for dead, which joins anew."
    )
    kill: Literal["before", "handled", "sent"] | None = Field(
        None,
        description="The worker ends without a word `before` the handler is given the record, when "
        "it has `handled` it, or when results are `sent` and no offset is committed; it is started "
        "again when its session is over.",
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        said = [key for key in FAULTS if self._of(key) is not None]
        if len(said) != 1:
            raise ValueError(f"give one of {', '.join(FAULTS)}; {' and '.join(said) or 'none'} is")
        if self.text is not None and self.raises is None:
            raise ValueError("text is what an exception says; give raise")
        return self

    def _of(self, key: str) -> object:
        return self.raises if key == "raise" else getattr(self, key)


class Expectations(Model):
    """What has to be so."""

    expect: dict[Topic, list[Expected]] = Field(
        {},
        description="By topic all its records; those of a partition come in this order.",
    )
    dead_letters: list[ExpectedLetter] | None = Field(
        None, description="All dead letters, in any order; at the end of a test none by default."
    )
    retries: list[Retried] = Field([], description="Messages that were tried again.")
    committed: dict[Pipelines, dict[Topic, Number | list[Number]]] = Field(
        {},
        description="By pipeline and topic the offsets that are committed: those of all partitions "
        "in a list, or their sum.",
    )
    failed: dict[Pipelines, str] | None = Field(
        None,
        description="Pipelines that cannot go on, and part of the reason; at the end of a test "
        "none by default.",
    )


Records = dict[Topic, list[Given]]


class Step(Expectations):
    """A step of a test: time passes, records are given, and something has to be so by then."""

    after: Duration = Field(0.0, description="Time that passes first.")
    given: Records = Field({}, description="Records that are written then, by topic.")


class SpecTest(Expectations):
    """One test: what is given and goes wrong, and what has to be so when all is done."""

    resources: dict[str, ModuleName] = Field(
        {},
        description="Resources that are replaced, by their names: a generator function that yields "
        "one, or what handlers are given, as `module.name`.",
    )
    faults: list[Fault] = Field([], description="What goes wrong.")
    given: Records = Field({}, description="Records that are written at first, by topic.")
    steps: list[Step] = Field([], description="What happens then, one after the other.")
    schedule: Scheduled | None = Field(
        None,
        description="A run that `worker simulate` has found a promise broken in; in place of the "
        "other keys.",
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.schedule is not None:
            if len(self.model_fields_set) > 1:
                raise ValueError("schedule takes the place of all other keys")
            return self
        if not self.given and not any(step.given for step in self.steps):
            raise ValueError("given is missing: records that are written, by topic")
        return self


Tests = dict[Annotated[str, Field(min_length=1, max_length=200)], SpecTest]


class TestFile(Model):
    """A file of tests."""

    __test__ = False

    version: Version = Field(description="Version of the format.")
    spec: str = Field(min_length=1, description="The spec under test, relative to this file.")
    environment: dict[str, str] = Field(
        {}, description="Variables that the spec is loaded with, beside those of the environment."
    )
    resources: dict[str, ModuleName] = Field(
        {}, description="Resources that are replaced in all tests."
    )
    tests: Annotated[Tests, Field(min_length=1)] = Field(description="The tests by their names.")
