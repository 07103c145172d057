"""Tests of a spec as users write them: what passes, and how the rest is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.testing.driving import ONE, TOP, options, suite
from worker import Record
from worker.app import Options
from worker.errors import BadConfiguration
from worker.spec import Suite, load_tests
from worker.testing.spectests.running import SpecTests


def results(found: Suite, made: Options) -> list[str]:
    """What is wrong with the only test: line, path below the test, and the sentence."""
    (name,) = found.tests
    result = SpecTests(found, made).run(name)
    return [
        f"{one.line} {one.path.removeprefix(f'tests.{name}').lstrip('.')}: {one.text}"
        for one in result.differences
    ]


def differences(folder: Path, tests: str, made: Options | None = None) -> list[str]:
    return results(suite(folder, tests), made or options())


def problems(folder: Path, tests: str, made: Options | None = None) -> list[str]:
    """What of tests cannot work."""
    with pytest.raises(BadConfiguration) as caught:
        SpecTests(suite(folder, tests), made or options())
    return [f"{one.line}:{one.column} {one.path}: {one.text}" for one in caught.value.problems]


PASSES = """\
  all of it:
    given:
      source:
        - {key: a, value: {n: 1, text: one}, headers: {who: me}}
        - {key: a, value: {n: 2}}
        - {key: b, value: plain}
        - {key: c, value: {base64: /w==}, partition: 0}
        - {key: d, value: {n: 4}}
    faults:
      - {raise: ConnectionError, at: {topic: source, key: a, contains: {n: 1}}, times: 3}
      - {raise: Reject, text: odd, at: {key: d}, times: always}
    expect:
      target:
        - {key: a, value: {n: 1, text: one}, headers: {who: null}, partition: 0}
        - {key: a, contains: {n: 2}}
    dead_letters:
      - {key: b, topic: source, reason: undecodable}
      - {value: {base64: /w==}, reason: undecodable}
      - {key: d, reason: rejected, error: Reject, attempts: 1}
    retries:
      - {key: a, contains: {n: 1}, delays: [1s, 2s, 10m]}
      - {pipeline: one, key: a, value: {n: 2}, delays: []}
    committed: {one: {source: 5}}
"""


def test_a_test_passes_where_all_is_as_expected(tmp_path: Path) -> None:
    def handler(payload: dict[str, Any]) -> Record:
        return Record(payload, headers=[("who", None)])

    assert differences(tmp_path, PASSES, options(handler)) == []


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ("{value: {n: 2}}", ["6 expect.target[0].value.n: 1 instead of 2"]),
        ("{value: {}}", ["6 expect.target[0].value: has 'n', too: 1"]),
        ("{value: text}", ['6 expect.target[0].value: "{\\"n\\":1}" instead of "text"']),
        ("{contains: {m: 2}}", ["6 expect.target[0].contains.m: is missing"]),
        ("{partition: 1}", ["6 expect.target[0].partition: 0 instead of 1"]),
        ("{headers: {x: y}}", ["6 expect.target[0].headers.x: is missing"]),
        (
            "{key: b}",
            [
                "6 expect.target[0]: there is no such record",
                '5 expect.target: one more: key "a", {"n":1}',
            ],
        ),
        (
            "{key: a}, {key: a}",
            ["6 expect.target[1]: there is no such record"],
        ),
    ],
)
def test_what_differs_is_told_with_its_line(tmp_path: Path, expected: str, told: list[str]) -> None:
    test = f"""\
  one:
    expect: {{target: [
      {expected}]}}
    given: {{source: [{{key: a, value: {{n: 1}}}}]}}
"""
    assert differences(tmp_path, test) == told


def test_records_of_a_partition_have_to_come_in_the_order_that_is_expected(tmp_path: Path) -> None:
    test = """\
  one:
    given: {source: [{key: a, value: 1}, {key: a, value: 2}]}
    expect:
      target:
        - {value: 2}
        - {value: 1}
"""

    def handler(payload: int) -> int:
        return payload

    assert differences(tmp_path, test, options(handler)) == [
        '9 expect.target[1]: comes before the one that is expected before it, key "a", 2'
    ]


def test_what_fails_without_being_expected_fails_the_test(tmp_path: Path) -> None:
    odd = "  one: {given: {source: [{key: a, value: odd}]}}\n"
    broken = """\
  one:
    given: {source: [{key: a, value: 1}]}
    faults: [{refuse: UNKNOWN, times: always}]
"""

    (letter,) = differences(tmp_path, odd)
    (unfinished,) = differences(tmp_path, broken, options(lambda_of(int)))

    assert letter.startswith(
        "4 dead_letters: one more: undecodable, JSONDecodeError, of source[0]@0"
    )
    assert unfinished.startswith("4 : not finished after 7800s; one: ")


def lambda_of(kind: type) -> Callable[[Any], Any]:
    """A handler of payloads of a type."""

    def handler(payload: Any) -> Any:
        return payload

    handler.__annotations__["payload"] = kind
    return handler


def test_a_pipeline_that_stops_has_to_be_expected(tmp_path: Path) -> None:
    pipelines = "  one: {from: source, handler: handler, on_error: stop}\n"
    given = "given: {source: [{key: a, value: odd}]}"

    (told,) = results(suite(tmp_path, f"  one: {{{given}}}\n", pipelines), options())
    assert told.startswith("4 failed: one cannot go on: ")

    expected = f"  one: {{{given}, failed: {{one: undecodable}}}}\n"
    assert results(suite(tmp_path, expected, pipelines), options()) == []


def test_dead_letters_retries_and_offsets_that_differ_are_told(tmp_path: Path) -> None:
    test = """\
  one:
    given: {source: [{key: a, value: {n: 1}}]}
    faults: [{raise: TimeoutError, times: always}]
    dead_letters:
      - {key: a, reason: rejected, attempts: 9}
    retries:
      - {delays: [1s]}
      - {key: none, delays: []}
    committed: {one: {source: 2}}
"""
    assert differences(tmp_path, test) == [
        '8 dead_letters[0].reason: "handler_error" instead of "rejected"',
        "8 dead_letters[0].attempts: 4 instead of 9",
        "10 retries[0].delays: [1s, 2s, 10m] instead of [1s], of source[0]@0 in one",
        "11 retries[1]: no handler was given such a message",
        "12 committed.one.source: 1 instead of 2",
    ]


def test_steps_let_time_pass_and_say_what_is_so_by_then(tmp_path: Path) -> None:
    test = """\
  one:
    given: {source: [{key: a, value: {n: 1}}]}
    faults: [{raise: ConnectionError, times: 3}]
    steps:
      - {expect: {target: []}}
      - {after: 9m, expect: {target: []}, given: {source: [{key: b, value: {n: 2}}]}}
      - {expect: {target: [{key: b}]}}
      - {after: 2m, expect: {target: [{key: b}, {key: a}]}}
    expect: {target: [{key: b}, {key: a}]}
"""
    assert differences(tmp_path, test) == [
        '9 steps[1].expect.target: one more: key "b", {"n":2}',
    ]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("kill: sent", "[{value: 1}, {value: 2}, {value: 1}, {value: 2}]"),
        ("kill: handled", "[{value: 1}, {value: 2}]"),
        ("kill: before", "[{value: 1}, {value: 2}]"),
        ("lose: true", "[{value: 1}, {value: 2}, {value: 1}, {value: 2}]"),
        ("revoke: 5s", "[{value: 1}, {value: 2}]"),
    ],
)
def test_crashes_and_rebalances_happen_where_a_test_says(
    tmp_path: Path, fault: str, expected: str
) -> None:
    test = f"""\
  one:
    given: {{source: [{{key: a, value: 1}}, {{key: a, value: 2}}]}}
    faults: [{{{fault}, at: {{value: 2}}}}]
    expect: {{target: {expected}}}
    committed: {{one: {{source: [2]}}}}
"""
    pipelines = "  one: {from: source, handler: handler, to: target}\n"

    assert results(suite(tmp_path, test, pipelines), options(lambda_of(int))) == []


def test_a_record_that_brokers_refuse_is_meant_by_where_it_goes(tmp_path: Path) -> None:
    test = """\
  one:
    given: {source: [{key: a, value: {n: 1}}, {key: b, value: {n: 2}}]}
    faults: [{refuse: MSG_SIZE_TOO_LARGE, at: {topic: target, key: a}, times: always}]
    expect: {target: [{key: b}]}
    dead_letters: [{key: a, reason: too_large}]
"""
    pipelines = f"{ONE}    delivery: exactly_once\n"

    assert results(suite(tmp_path, test, pipelines), options()) == []


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
@pytest.mark.parametrize(
    ("times", "expected", "letters"),
    [("1", "[{key: a}]", "[]"), ("always", "[]", "[{reason: unencodable}]")],
)
def test_one_refusal_is_survived_and_one_for_good_makes_a_dead_letter(
    tmp_path: Path, delivery: str, times: str, expected: str, letters: str
) -> None:
    test = f"""\
  one:
    given: {{source: [{{key: a, value: {{n: 1}}}}]}}
    faults: [{{refuse: INVALID_RECORD, at: {{topic: target}}, times: {times}}}]
    expect: {{target: {expected}}}
    dead_letters: {letters}
"""
    pipelines = f"{ONE}    delivery: {delivery}\n"

    assert results(suite(tmp_path, test, pipelines), options()) == []


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("raise: OSError, times: 2", "no handler was given such a record"),
        ("refuse: INVALID_RECORD, times: always", "no pipeline has written such a record"),
        ("revoke: 5s", "no handler was given such a record"),
        ("lose: true", "no handler was given such a record"),
        ("kill: before", "no handler was given such a record"),
        ("kill: handled", "no handler was given such a record"),
        ("kill: sent", "no handler was given such a record"),
    ],
)
def test_a_fault_that_never_happens_fails_its_test(tmp_path: Path, fault: str, told: str) -> None:
    test = f"""\
  one:
    given: {{source: [{{key: a, value: {{n: 1}}}}]}}
    faults:
      - {{{fault.partition(",")[0]}, at: {{key: a}}}}
      - {{{fault}, at: {{key: A}}}}
    expect: {{target: [{{key: a}}]}}
"""
    found = differences(tmp_path, test)

    assert [one for one in found if "faults" in one] == [f"8 faults[1]: never happened: {told}"]


def test_records_come_from_files_that_commands_write(tmp_path: Path) -> None:
    line = (
        '{"topic": "other", "partition": 0, "offset": 7, "timestamp": 1, "key": "a", "value": "{}"}'
    )
    (tmp_path / "kept.jsonl").write_text(f"{line}\n\n{line}\n")
    test = """\
  one:
    given: {source: [{file: kept.jsonl}]}
    expect: {target: [{key: a, value: {}}, {key: a, value: {}}]}
"""
    assert differences(tmp_path, test) == []


def test_everything_that_cannot_work_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "odd.jsonl").write_text('{"value": "1", "partition": 3}\n{}\n')
    test = """\
  one:
    resources: {htpt: os.path}
    given: {source: [{file: odd.jsonl}, {value: 1, partition: 0, timestamp: soon}]}
    faults:
      - {raise: ConectionError}
      - {raise: tests.testing.driving.ONE}
      - {raise: no_such.Error}
      - {raise: worker.Reject}
"""
    made = options()
    made.registry.resource(http, name="http")

    assert problems(tmp_path, test, made) == [
        "5:17 tests.one.resources.htpt: no resource is named 'htpt'; did you mean 'http'?",
        "6:22 tests.one.given.source[0]: odd.jsonl:2: value: it is missing; null is a record "
        "without one, a tombstone",
        "6:41 tests.one.given.source[1]: timestamp: 'soon' is not legal; legal is milliseconds "
        "since 1970, or a time after that with its zone: 2026-01-31T12:00:00Z",
        "8:10 tests.one.faults[0].raise: no exception of Python or worker is named "
        "'ConectionError'; legal is module.Name",
        "9:10 tests.one.faults[1].raise: 'tests.testing.driving.ONE' is no exception",
        "10:10 tests.one.faults[2].raise: no module 'no_such'; it is looked for from the working "
        "directory on",
        "11:10 tests.one.faults[3].raise: worker.Reject cannot be made without `text`: "
        "Reject.__init__() missing 1 required positional argument: 'reason'",
    ]


def http() -> Iterator[str]:
    """A resource that tests replace."""
    yield "real"


FAKE = "fake"


def test_resources_are_replaced_by_what_a_dotted_name_means(tmp_path: Path) -> None:
    test = f"""\
  one:
    resources: {{http: {__name__}.FAKE}}
    given: {{source: [{{key: a, value: {{}}}}]}}
    expect: {{target: [{{value: fake}}]}}
"""

    def handler(payload: dict[str, Any], http: str) -> str:
        return http

    made = options(handler)
    made.registry.resource(http, name="http")

    assert differences(tmp_path, test, made) == []


def test_a_topic_that_was_never_made_has_no_records(tmp_path: Path) -> None:
    pipelines = "  one: {from: [source, ^more.*], handler: handler, to: target}\n"
    test = """\
  one:
    given: {source: [{value: {}}]}
    expect: {more.of: []}
    committed: {one: {more.of: 0}}
"""
    assert results(suite(tmp_path, test, pipelines), options()) == []


def test_a_record_that_is_written_needs_its_partition_and_one_of_a_file_does_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "kept.jsonl").write_text('{"value": "{}", "key": "a", "partition": 11}')
    pipelines = "  one: {from: other, handler: handler, to: target}\n"
    written = "  one: {given: {other: [{value: {}, partition: 11}]}}\n"
    kept = "  one: {given: {other: [{file: kept.jsonl}]}, expect: {target: [{key: a}]}}\n"

    assert results(suite(tmp_path, kept, pipelines), options()) == []
    with pytest.raises(BadConfiguration, match="partition: 11; 'other' has 4: declare more of it"):
        SpecTests(suite(tmp_path, written, pipelines), options())


def test_tests_may_stand_in_the_spec_itself(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    tests = "tests:\n  one: {given: {source: [{value: {n: 1}}]}, expect: {target: []}}\n"
    file.write_text(f"{TOP}pipelines:\n{ONE}{tests}")

    (told,) = results(load_tests(file, {}), options())

    assert told.startswith("17 expect.target: one more: no key, ")


def test_a_test_does_not_see_what_another_has_left(tmp_path: Path) -> None:
    each = "{given: {source: [{key: a, value: {n: 1}}]}, expect: {target: [{key: a}]}}"
    tests = SpecTests(suite(tmp_path, f"  one: {each}\n  two: {each}\n"), options())

    assert [tests.run(name).differences for name in ("one", "two", "one")] == [[], [], []]
