"""What is wrong with a spec beyond its text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from worker.app import Options, Wrap, build, check
from worker.app.assembly import Assembly
from worker.app.checks import unknown_exceptions
from worker.engine.resources import Resources
from worker.errors import BadConfiguration, ClientError, TopicsRefused
from worker.handlers import Registry
from worker.ports import Admin, NewTopic, Producer
from worker.spec import Document, load
from worker.testing import MemoryBroker
from worker.testing.memory.broker import MemoryAdmin
from worker.types import Message

SPEC = """\
version: 1
name: test
kafka: {{brokers: "localhost:1"}}
handlers: [json]
pipelines:
  one:
    from: source
    handler: {handler}
    {more}
server: {{port: 0}}
"""


class Opaque:
    """Nothing that can be read from JSON."""


@pytest.fixture
def options() -> Options:
    registry = Registry()

    def plain(payload: dict[str, Any]) -> None: ...
    def needs(payload: str, pool: object) -> None: ...
    def opaque(payload: Opaque) -> None: ...
    def pool(nothing: object) -> Iterator[int]:
        yield 1

    def tenant(message: Message) -> bytes | None:
        return message.key

    async def waits(payload: str) -> None: ...
    def typed(payload: str) -> None: ...
    def lost(payload: str) -> None: ...

    typed.__module__, lost.__module__ = "__main__", "nowhere"
    for function in (plain, needs, opaque, waits, typed, lost):
        registry.handler(function, batch=None, name=None)
    registry.resource(pool, name=None)
    registry.lane(tenant, name=None)
    return Options(registry=registry)


def document(tmp_path: Path, handler: str, more: str = "batch: 1") -> Document:
    file = tmp_path / "spec.yaml"
    file.write_text(SPEC.format(handler=handler, more=more))
    return load(file, {})


@pytest.mark.parametrize(
    ("handler", "more", "line", "expected"),
    [
        ("plian", "to: target", 8, "no handler is named 'plian'; did you mean 'plain'?"),
        ("plain", "batch: 10", 9, "takes one message; mark it with @handler(batch=...)"),
        ("plain", "decode: string", 8, "decode: string gives str, not dict"),
        ("opaque", "to: target", 8, "Opaque cannot be read from JSON; legal are dict"),
        (
            "plain",
            "ordering: key\n    lane: tennant",
            10,
            "no lane is named 'tennant'; did you mean",
        ),
        ("plain", "pool: asyncio", 9, "is not async; legal are thread and process"),
        ("waits", "pool: process", 9, "is async; legal is asyncio"),
        ("waits", "pool: thread", 9, "is async; legal is asyncio"),
        ("typed", "pool: process", 9, "is in '__main__', which no other process can import"),
        ("lost", "pool: process", 9, "is in 'nowhere', which no other process can import"),
        ("needs", "to: target", 8, "no resource is named 'nothing'; did you mean"),
    ],
)
def test_what_cannot_work_is_told_with_its_place(
    tmp_path: Path, options: Options, handler: str, more: str, line: int, expected: str
) -> None:
    problems = check(document(tmp_path, handler, more), options)

    assert [problem.line for problem in problems] == [line]
    assert expected.split("; did", maxsplit=1)[0] in problems[0].text


@pytest.mark.parametrize(
    ("handler", "pool"),
    [("plain", "thread"), ("plain", "process"), ("waits", "asyncio")],
)
def test_a_pool_that_fits_the_handler_may_be_named(
    tmp_path: Path, options: Options, handler: str, pool: str
) -> None:
    assert check(document(tmp_path, handler, f"pool: {pool}"), options) == []


def test_a_spec_that_cannot_work_is_not_built(tmp_path: Path, options: Options) -> None:
    with pytest.raises(BadConfiguration, match="no handler is named 'nobody'"):
        build(document(tmp_path, "nobody"), options)


@pytest.mark.parametrize(
    ("names", "warned"),
    [
        ("on: [OSError, json.JSONDecodeError, worker.errors.Fenced]", []),
        (
            "on: [OSErrr]",
            ["pipelines.one.retry: no exception is named 'OSErrr' so far; did you mean 'OSError'?"],
        ),
        (
            "give_up_on: [no_such_module_at_all.Qqq]",
            ["pipelines.one.retry: no exception is named 'no_such_module_at_all.Qqq' so far"],
        ),
    ],
)
def test_a_name_that_no_exception_has_is_warned_of_since_nobody_would_notice(
    tmp_path: Path, names: str, warned: list[str]
) -> None:
    spec = document(tmp_path, "plain", f"retry: {{attempts: 2, {names}}}").spec

    assert list(unknown_exceptions(spec)) == warned


def test_a_name_in_dead_letter_that_no_exception_and_no_reason_has_is_warned_of(
    tmp_path: Path,
) -> None:
    by = "{OSError: a, too_large: b, timout: c, Qqqqqq: d}"
    spec = document(tmp_path, "plain", f"dead_letter: {{default: dlq, by: {by}}}").spec

    assert list(unknown_exceptions(spec)) == [
        "pipelines.one.dead_letter.by: no exception and no reason is named 'timout' so far; "
        "did you mean 'timeout'?",
        "pipelines.one.dead_letter.by: no exception and no reason is named 'Qqqqqq' so far",
    ]


def test_such_a_name_in_a_breaker_is_warned_of_too(tmp_path: Path) -> None:
    spec = document(tmp_path, "plain", "breaker: {name: a, on: [OSErrr, OSError]}").spec

    assert list(unknown_exceptions(spec)) == [
        "pipelines.one.breaker: no exception is named 'OSErrr' so far; did you mean 'OSError'?"
    ]


def test_pipelines_share_a_breaker_by_its_name(tmp_path: Path, options: Options) -> None:
    two = "  two: {from: source, handler: plain, breaker: {name: a}}"
    three = "  three: {from: source, handler: plain, breaker: {name: b}}"
    spec = document(tmp_path, "plain", f"breaker: {{name: a}}\n{two}\n{three}")
    assembly = Assembly(spec, options)

    one, other, third = map(assembly._breaker, spec.spec.pipelines.values())

    assert one is other is not None
    assert third is not one
    assembly.loop.close()


def test_a_pipeline_that_is_asked_for_alone_must_exist(tmp_path: Path, options: Options) -> None:
    asked = Options(only=["oen"], registry=options.registry)

    problems = check(document(tmp_path, "plain", "to: target"), asked)

    assert [problem.text for problem in problems] == [
        "--only: no pipeline is named 'oen'; did you mean 'one'?"
    ]


class Refusing(MemoryAdmin):
    """An admin that may make no topics."""

    def create(self, topics: Mapping[str, NewTopic]) -> None:
        raise TopicsRefused(dict.fromkeys(topics, "TOPIC_AUTHORIZATION_FAILED"))


@pytest.mark.parametrize(
    ("make", "read"),
    [(MemoryAdmin, ["source", "test.one.redrive"]), (Refusing, ["source"])],
)
def test_redriven_dead_letters_are_read_where_there_is_a_topic_for_them_or_it_can_be_made(
    tmp_path: Path, options: Options, make: Callable[[MemoryBroker], Admin], read: Sequence[str]
) -> None:
    broker = MemoryBroker()
    broker.create("source")
    broker.create("one.dlq", 7)
    wrap = Wrap(admin=lambda _admin: make(broker))
    assembly = Assembly(
        document(tmp_path, "plain", "dead_letter: one.dlq"), replace(options, wrap=wrap)
    )

    assembly.prepare()
    job = assembly._pipeline("one", Resources([], assembly.loop)).job
    assembly.loop.close()

    assert job.topics == read
    made = broker.admin().describe(["test.one.redrive"])
    assert [info.partitions for info in made.values()] == [1] * (len(read) - 1)


def test_a_pipeline_without_dead_letters_reads_its_sources_only(
    tmp_path: Path, options: Options
) -> None:
    broker = MemoryBroker()
    broker.create("source")
    wrap = Wrap(admin=lambda _admin: broker.admin())
    assembly = Assembly(document(tmp_path, "plain"), replace(options, wrap=wrap))

    assembly.prepare()
    job = assembly._pipeline("one", Resources([], assembly.loop)).job
    assembly.loop.close()

    assert job.topics == ["source"]
    assert broker.admin().names() == ["source"]


def test_every_topic_of_dead_letters_must_exist(tmp_path: Path, options: Options) -> None:
    target = "dead_letter: {default: one.dlq, by: {KeyError: keys, ValueError: values}}"
    broker = MemoryBroker()
    for topic in ("source", "keys"):
        broker.create(topic)
    wrap = Wrap(admin=lambda _admin: broker.admin())
    assembly = Assembly(document(tmp_path, "plain", target), replace(options, wrap=wrap))

    with pytest.raises(BadConfiguration) as caught:
        assembly.prepare()
    assembly.loop.close()

    assert [(problem.path, problem.text[:27]) for problem in caught.value.problems] == [
        ("pipelines.one.dead_letter", "topic 'one.dlq' does not ex"),
        ("pipelines.one.dead_letter.by.ValueError", "topic 'values' does not exi"),
    ]


def test_a_pipeline_that_runs_says_of_no_other_topics_than_its_own_that_they_are_missing(
    tmp_path: Path, options: Options
) -> None:
    more = "dead_letter: one.dlq\n    to: gone\n  two: {from: source, handler: plain, to: other}"
    topics = "\ntopics:\n  other: {}\n  gone: {}"
    broker = MemoryBroker()
    broker.create("source")
    wrap = Wrap(admin=lambda _admin: broker.admin())
    assembly = Assembly(document(tmp_path, "plain", more + topics), replace(options, wrap=wrap))

    with pytest.raises(ClientError) as caught:
        assembly._clients("one").producer(alone=False)
    assembly.loop.close()

    first, second = str(caught.value).split("; make it with: ")[:2]
    assert first.endswith(
        "pipelines.one.to: topic 'gone' does not exist, or is not shown to this user"
    )
    assert "pipelines.one.dead_letter: topic 'one.dlq' does not exist" in second
    assert "other" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pipeline_gets_a_new_producer_while_topics_of_other_pipelines_are_missing(
    tmp_path: Path, options: Options
) -> None:
    two = "  two: {from: source, handler: plain, dead_letter: two.dlq}"
    spec = document(tmp_path, "plain", f"dead_letter: one.dlq\n{two}")
    broker = MemoryBroker()
    for topic in ("source", "one.dlq"):
        broker.create(topic)
    made: list[Producer] = []

    def kept(producer: Producer) -> Producer:
        made.append(producer)
        return broker.producer()

    wrap = Wrap(admin=lambda _admin: broker.admin(), producer=kept)
    assembly = Assembly(spec, replace(options, wrap=wrap))

    assembly._clients("one").producer(alone=False)
    with pytest.raises(ClientError, match=r"two\.dlq"):
        assembly._clients("two").producer(alone=False)

    assert len(made) == 1
    made[0].close(0)
    assembly.loop.close()
