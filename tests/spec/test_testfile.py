"""Tests of a spec: what is legal in them, and how mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.errors import BadConfiguration
from worker.spec import check, load, load_tests

SPEC = """\
version: 1
name: shop
kafka: {brokers: "${SHOP_BROKERS}"}
handlers: [shop_handlers]
topics: {orders: {partitions: 2}}
pipelines:
  doubles: {from: [orders, ^more.*], handler: double, to: doubles, dead_letter: dlq}
"""
FILE = """\
version: 1
spec: shop.yaml
environment: {SHOP_BROKERS: "localhost:9092"}
tests:
  one:
"""
GIVEN = "    given: {orders: [{value: 1}]}\n"


def problems(folder: Path, test: str) -> list[str]:
    """What is wrong with the only test: line, path below it, and the sentence."""
    (folder / "shop.yaml").write_text(SPEC)
    file = folder / "shop.test.yaml"
    file.write_text(FILE + test)
    documents, found = check([file], {})
    assert documents == []
    return [f"{one.line} {one.path.removeprefix('tests.one')}: {one.text}" for one in found]


def test_a_test_needs_no_more_than_records(tmp_path: Path) -> None:
    assert problems(tmp_path, GIVEN) == []


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("    expect: {doubles: []}\n", "5 : given is missing: records that are written, by topic"),
        ("    given: {order: [{value: 1}]}\n", "6 .given.order: the spec does not name topic 'or"),
        ("    given: {more.s: [{value: 1}]}\n    committed: {double: {}}\n", "7 .committed.double"),
        ("    given: {orders: [{key: a}]}\n", "6 .given.orders[0]: give value, null for a record"),
        ("    given: {orders: [{value: 1, partition: 2}]}\n", "6 .given.orders[0].partition: 2; "),
        ("    given: {orders: [{file: x}]}\n", "6 .given.orders[0].file: 'x' is no file; legal is"),
        (
            "    given: {orders: [{file: shop.yaml, key: a}]}\n",
            "6 .given.orders[0]: file takes the place",
        ),
        (
            f"{GIVEN}    expect: {{doubles: [{{value: 1, contains: 1}}]}}\n",
            "7 .expect.doubles[0]: ",
        ),
        (
            f"{GIVEN}    dead_letters: [{{topic: order}}]\n",
            "7 .dead_letters[0].topic: the spec does",
        ),
        (
            f"{GIVEN}    dead_letters: [{{reason: rejcted}}]\n",
            "7 .dead_letters[0].reason: no dead letter has 'rejcted'; did you mean 'rejected'?",
        ),
        (
            f"{GIVEN}    steps: [{{dead_letters: [{{reason: odd}}]}}]\n",
            "7 .steps[0].dead_letters[0].reason: no dead letter has 'odd'; there are handler_",
        ),
        (
            f"{GIVEN}    retries: [{{pipeline: double, delays: []}}]\n",
            "7 .retries[0].pipeline: no p",
        ),
        (
            f"{GIVEN}    retries: [{{key: a}}]\n",
            "7 .retries[0].delays: is missing: The times betwe",
        ),
        (
            f"{GIVEN}    failed: {{double: no}}\n",
            "7 .failed.double: no pipeline is named 'double'; ",
        ),
        (f"{GIVEN}    steps: [{{after: 10}}]\n", "7 .steps[0].after: 10 is not a duration such as"),
        (
            f"{GIVEN}    faults: [{{times: 2}}]\n",
            "7 .faults[0]: give one of raise, refuse, revoke, ",
        ),
        (
            f"{GIVEN}    faults: [{{kill: sent, lose: true}}]\n",
            "7 .faults[0]: give one of raise, re",
        ),
        (
            f"{GIVEN}    faults: [{{kill: now}}]\n",
            "7 .faults[0].kill: 'now' is not legal; legal are",
        ),
        (
            f"{GIVEN}    faults: [{{lose: true, text: a}}]\n",
            "7 .faults[0]: text is what an excepti",
        ),
        (f"{GIVEN}    faults: [{{refuse: no}}]\n", "7 .faults[0].refuse: 'no' is not legal"),
        (
            f"{GIVEN}    faults: [{{refuse: MSG_SIZE_TO_LARGE}}]\n",
            "7 .faults[0].refuse: 'MSG_SIZE_TO_LARGE' is no error of brokers or clients; "
            "did you mean MSG_SIZE_TOO_LARGE",
        ),
        (
            f"{GIVEN}    faults: [{{refuse: FOO}}]\n",
            "7 .faults[0].refuse: 'FOO' is no error of brokers or clients; legal are INVALID_",
        ),
        (f"{GIVEN}    faults: [{{raise: 1}}]\n", "7 .faults[0].raise: 1 is not a text"),
        (f"{GIVEN}    fualts: []\n", "7 .fualts: no such key; did you mean `faults`?"),
        (
            f"{GIVEN}    resources: {{http: fakes/http}}\n",
            "7 .resources.http: 'fakes/http' is not t",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, test: str, expected: str) -> None:
    found = problems(tmp_path, test)

    assert len(found) == 1, found
    assert found[0].startswith(expected)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    test = "    given: {order: [{value: 1}]}\n    expect: {double: []}\n    faults: [{kill: now}]\n"

    assert [problem.partition(":")[0] for problem in problems(tmp_path, test)] == [
        "6 .given.order",
        "7 .expect.double",
        "8 .faults[0].kill",
    ]


def test_what_stands_behind_a_mistake_in_a_list_keeps_its_place(tmp_path: Path) -> None:
    test = """\
    given:
      orders:
        - {key: one}
        - {value: fine}
        - {file: nothere.jsonl}
        - {value: 1, partition: 99}
    faults:
      - {kill: now}
      - {lose: true}
      - {lose: true, at: {topic: nosuch}}
"""

    assert [problem.partition(":")[0] for problem in problems(tmp_path, test)] == [
        "8 .given.orders[0]",
        "10 .given.orders[2].file",
        "11 .given.orders[3].partition",
        "13 .faults[0].kill",
        "15 .faults[2].at.topic",
    ]


def test_items_beside_one_that_is_wrong_twice_stay_as_they_are(tmp_path: Path) -> None:
    test = f"""{GIVEN}    retries:
      - {{delays: 5, at: 1, key: 2, wrong: 1}}
      - {{delays: [], key: a, topic: nosuch}}
"""

    assert [problem.partition(":")[0] for problem in problems(tmp_path, test)] == [
        "8 .retries[0].delays",
        "8 .retries[0].at",
        "8 .retries[0].key",
        "8 .retries[0].wrong",
        "9 .retries[1].topic",
    ]


def test_tests_in_the_spec_are_checked_with_it_but_not_where_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(f"{SPEC}tests:\n  one: {{given: {{orders: [{{file: gone.jsonl}}]}}}}\n")
    environ = {"SHOP_BROKERS": "localhost:9092"}

    (document,), found = check([file], environ)

    assert [problem.path for problem in found] == ["tests.one.given.orders[0].file"]
    assert list(document.spec.tests) == ["one"]
    assert load(file, environ).spec == document.spec
    with pytest.raises(BadConfiguration, match="gone"):
        load_tests(file, environ)
