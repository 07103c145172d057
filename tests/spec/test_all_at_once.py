"""Every mistake of a spec is told in one round, whatever its kind, and nothing that it led to."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from worker.app import Options, load
from worker.errors import BadConfiguration
from worker.handlers import Registry

SPEC = """\
version: 1
name: shop
kafka:
  brokers: localhost:9092
  client_id: shop
  producer: {linger: 5ms}
  security:
    protocol: SASL_SSL
    mechanism: PLAIN
    username: u
    password: p
  group: {heartbeat: 1s}
handlers:
  - json
topics:
  orders: {partitions: 4}
pipelines:
  doubles:
    from: orders
    handler: double
    to: doubles
    dead_letter: orders.dlq
    commit: {interval: 1s}
  large:
    from: [doubles]
    handler: large
    to: large
server: {port: 0}
"""

MISTAKES = (
    # the text of the spec
    ("version: 1", "version: 2", "version: 2 is not legal"),
    ("name: shop", "name: shop\nname: shop", "name: stands twice"),
    ("port: 0", "prt: 0", "server.prt: no such key"),
    ("client_id: shop", "client_id: 5", "kafka.client_id: 5 is not a text"),
    ("brokers: localhost:9092", "brokers: ${NOWHERE}", "kafka.brokers: the environment variable"),
    ("partitions: 4", "partitions: 0", "topics.orders.partitions: 0 is out of range"),
    ("  - json", "  - json\n  - 5", "handlers[1]: 5 is not a text"),
    ("commit: {interval: 1s}", "retry: {topics: [5]}", "topics[0]: 5 is not a duration"),
    ("commit: {interval: 1s}", "commit: {interval: 1}", "interval: 1 is not a duration"),
    # contradictions within a mapping
    ("mechanism: PLAIN", "mechanism: PLAIN\n    certificate: c", "certificate and key go together"),
    ("heartbeat: 1s", "heartbeat: 9s", "kafka.group: heartbeat must be at most half"),
    ("linger: 5ms", "linger: 40s", "kafka.producer: linger must be shorter than"),
    ("to: doubles", "to: doubles\n    on_error: skip", "dead_letter and on_error exclude"),
    # contradictions beyond a mapping
    (
        "commit: {interval: 1s}",
        "retry: {on: [OSError]}",
        "pipelines.doubles.retry: says no `attempts`",
    ),
    (
        "commit: {interval: 1s}",
        "retry: {topics: [1m]}",
        "pipelines.doubles.retry: with `ordering: partition`",
    ),
    (
        "commit: {interval: 1s}",
        "group: a b\n    ordering: none\n    retry: {topics: [1m]}",
        "pipelines.doubles.group: 'a b' cannot name",
    ),
    ("to: large", "to: doubles", "pipelines.large.to: 'doubles' is also read by this pipeline"),
    (
        "kafka:\n",
        "kafka:\n  consumer: {enabled: false}\n",
        "consumer.enabled: false; pipelines read",
    ),
    # what stands outside of the spec
    ("  - json", "  - json\n  - nowhere.at_all", "handlers[1]: no module 'nowhere.at_all'"),
    ("handler: large", "handler: larg", "no handler is named 'larg'; did you mean 'large'?"),
    ("to: large", "to: large\n    batch: 5", "takes one message; mark it with @handler(batch"),
)


@pytest.fixture
def options() -> Options:
    registry = Registry()

    def double(order: dict[str, int]) -> None: ...
    def large(order: dict[str, int]) -> None: ...

    registry.handler(double, batch=None, name=None)
    registry.handler(large, batch=None, name=None)
    return Options(registry=registry)


def problems(folder: Path, text: str, options: Options) -> list[str]:
    file = folder / "spec.yaml"
    file.write_text(text)
    try:
        load(file, {}, options)
    except BadConfiguration as error:
        return [str(problem) for problem in error.problems]
    return []


def test_the_spec_without_mistakes_has_none(tmp_path: Path, options: Options) -> None:
    assert problems(tmp_path, SPEC, options) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [(one, other) for one, other in itertools.combinations(MISTAKES, 2) if one[0] != other[0]],
    ids=lambda mistake: mistake[2].partition(":")[0][:40],
)
def test_two_mistakes_are_both_told_and_nothing_else(
    tmp_path: Path, options: Options, one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    text = SPEC
    for old, new, _ in (one, other):
        assert old in text
        text = text.replace(old, new, 1)

    found = problems(tmp_path, text, options)

    expected = [one[2], other[2]]
    if "nowhere.at_all" in text or "- 5" in text:  # the handler may be in that module
        expected = [told for told in expected if "no handler is named" not in told]
    if "handler: larg\n" in text:  # nobody knows what it takes
        expected = [told for told in expected if "takes one message" not in told]
    assert len(found) == len(expected), found
    assert all(any(told in problem for problem in found) for told in expected), found
    lines = [int(problem.split(":")[1]) for problem in found]
    assert lines == sorted(lines)


def test_all_mistakes_that_go_together_are_told_in_one_round(
    tmp_path: Path, options: Options
) -> None:
    text, told = SPEC, []
    for old, new, expected in MISTAKES:
        if old in text and "handlers[1]" not in expected:
            text = text.replace(old, new, 1)
            told.append(expected)

    found = problems(tmp_path, text, options)

    assert [expected for expected in told if not any(expected in one for one in found)] == []
    assert len(found) == len(told), found


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("mechanism: PLAIN", "mechanism: PLAN", ["mechanism: 'PLAN' is not legal"]),
        ("mechanism: PLAIN", "mechansm: PLAIN", ["did you mean `mechanism`?"]),
        ("protocol: SASL_SSL", "protocol: SSLL", ["protocol: 'SSLL' is not legal"]),
        ("username: u", "username: ${U}", ["username: the environment variable U is not set"]),
        (
            "mechanism: PLAIN\n    username: u\n    password: p",
            "mechanism: OAUTHBEARER\n    oauth: {endpoint: x}",
            ["client_id: is missing", "client_secret: is missing"],
        ),
        (
            "group: {heartbeat: 1s}",
            "group: {session_timeout: 6m}\n  librdkafka: {max.poll.interval.ms: x}",
            ["max.poll.interval.ms is not legal"],
        ),
        ("handler: double", "handlr: double", ["handler: is missing", "handlr: no such key"]),
        ("from: orders", 'from: ["${T}"]', ["from[0]: the environment variable T is not set"]),
        ("brokers: localhost:9092", "brokers: [5]", ["5 is not host:port"]),
        ("  - json", "  - ${M}", ["handlers[0]: the environment variable M is not set"]),
        (
            "kafka:\n",
            "kafka: 5\nname2:\n",
            ["kafka: the value is not a mapping", "name2: no such key"],
        ),
        ("pipelines:\n", "pipelines: {}\ntopics2:\n", ["pipelines: is empty", "topics2: no such"]),
        (
            "dead_letter: orders.dlq",
            "dead_letter: {message: true}",
            ["dead_letter.default: is missing"],
        ),
        (
            "    from: [doubles]\n    handler: large\n",
            "",
            ["large.from: is missing", "large.handler: is missing"],
        ),
    ],
)
def test_what_follows_from_a_mistake_is_not_told_beside_it(
    tmp_path: Path, options: Options, old: str, new: str, expected: list[str]
) -> None:
    assert old in SPEC

    found = problems(tmp_path, SPEC.replace(old, new, 1), options)

    assert len(found) == len(expected), found
    assert all(told in problem for told, problem in zip(expected, found, strict=True)), found


def test_nothing_is_said_of_handlers_when_the_list_of_modules_is_missing(
    tmp_path: Path, options: Options
) -> None:
    text = SPEC.replace("handlers:\n  - json\n", "").replace("handler: large", "handler: larg")

    (problem,) = problems(tmp_path, text, options)

    assert "handlers: is missing" in problem


def test_a_module_keeps_its_place_behind_one_that_is_no_text(
    tmp_path: Path, options: Options
) -> None:
    found = problems(tmp_path, SPEC.replace("  - json", "  - 5\n  - nowhere.at_all"), options)

    assert ["handlers[0]" in found[0], "15:5: handlers[1]: no module" in found[1]] == [True, True]


def test_an_item_keeps_its_place_behind_one_that_has_no_value(
    tmp_path: Path, options: Options
) -> None:
    text = SPEC.replace("  - json", "  - ${M}\n  - 5\n  - json\n  - nowhere.at_all")

    assert [problem.split(": ")[:2] for problem in problems(tmp_path, text, options)] == [
        [f"{tmp_path}/spec.yaml:14:5", "handlers[0]"],
        [f"{tmp_path}/spec.yaml:15:5", "handlers[1]"],
        [f"{tmp_path}/spec.yaml:17:5", "handlers[3]"],
    ]


def test_every_property_of_librdkafka_that_is_refused_is_told_at_its_place(
    tmp_path: Path, options: Options
) -> None:
    properties = "client_id: shop\n  librdkafka:\n    acks: 1\n    no.such: 1\n    check.crcs: true"

    found = problems(tmp_path, SPEC.replace("client_id: shop", properties), options)

    assert [problem.split(":")[1:3] for problem in found] == [["7", "5"], ["8", "5"]]


def test_of_a_key_that_stands_twice_the_first_value_is_checked(
    tmp_path: Path, options: Options
) -> None:
    found = problems(tmp_path, SPEC.replace("  large:\n", "    from: ['a b']\n  large:\n"), options)
    other = problems(
        tmp_path, SPEC.replace("  large:\n", "    to: [a, {b: c}]\n  large:\n"), options
    )

    assert [problem.split(": ")[1:3] for problem in (*found, *other)] == [
        ["pipelines.doubles.from", "stands twice"],
        ["pipelines.doubles.to", "stands twice"],
    ]


SECOND = 'pipelines: {large: {from: ["${NOT_SET}"]}}\n'


def test_a_mistake_within_the_second_is_told_where_it_stands(
    tmp_path: Path, options: Options
) -> None:
    found = problems(tmp_path, SPEC + SECOND, options)

    line = str(SPEC.count("\n") + 1)
    assert [(one.split(":")[1], one.split(": ")[1]) for one in found] == [
        (line, "pipelines"),
        (line, "pipelines.large.from[0]"),
    ]


def test_a_value_of_another_shape_does_not_hide_behind_its_second(
    tmp_path: Path, options: Options
) -> None:
    text = SPEC.replace("from: orders", "from: ''").replace(
        "  large:\n", "    from: [a]\n  large:\n"
    )

    assert len(problems(tmp_path, text, options)) == 2
