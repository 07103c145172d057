"""`worker test`, as users call it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.cli.rig import SPEC, environment, shop, worker

GOOD = """\
  numbers are doubled:
    given: {orders: [{key: a, value: {number: 2}}]}
    expect: {doubles: [{key: a, value: {number: 4}}]}
"""
BAD = """\
  numbers are tripled:
    given: {orders: [{key: a, value: {number: 2}}]}
    expect:
      doubles:
        - {key: a, value: {number: 6}}
"""
HANGING = """\
from threading import Event

from worker import handler

@handler
def double(order: dict) -> dict:
    print("here")
    Event().wait()
    return order

@handler
def large(order: dict) -> dict:
    return order
"""


def written(folder: Path, text: str, name: str = "shop", spec: str = SPEC) -> Path:
    """Write a spec and a file of tests beside it; returns that."""
    shop(folder, spec).rename(folder / f"{name}.yaml")
    file = folder / f"{name}.test.yaml"
    file.write_text(f"version: 1\nspec: {name}.yaml\ntests:\n{text}")
    return file


def test_tests_that_pass_are_told_and_counted(tmp_path: Path) -> None:
    written(tmp_path, GOOD)

    code, out, err = worker("test", "shop.test.yaml", folder=tmp_path)

    assert (code, err) == (0, "")
    assert out.startswith("ok     numbers are doubled  shop.test.yaml:4  ")
    assert "\n1 passed in " in out


def test_a_test_that_fails_names_the_line_of_what_was_expected(tmp_path: Path) -> None:
    written(tmp_path, GOOD + BAD)

    code, out, err = worker("test", "shop.yaml", folder=tmp_path)

    assert (code, err) == (1, "")
    assert ("  shop.test.yaml:11:28: expect.doubles[0].value.number: 4 instead of 6\n") in out
    assert "\n1 passed, 1 failed in " in out


def test_the_folder_of_specs_is_looked_through_and_other_files_are_passed_over(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "config"
    (folder / "deep").mkdir(parents=True)
    written(folder, GOOD)
    (folder / "deep" / "values.yaml").write_text("image: {{ .Values.image }}\n")
    spec = SPEC.replace("name: shop", "name: other")
    (folder / "deep" / "other.yaml").write_text(f"{spec}tests:\n{BAD}")
    (folder / "shop_handlers.py").rename(tmp_path / "shop_handlers.py")

    code, out, _ = worker("test", folder=tmp_path)

    assert code == 1
    assert "ok     numbers are doubled  config/shop.test.yaml:4" in out
    assert "FAILED numbers are tripled  config/deep/other.yaml:" in out


def test_hidden_files_and_folders_are_none_of_the_project(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    (tmp_path / ".venv").mkdir()
    for file in (".ci.yml", ".venv/kept.yaml"):
        (tmp_path / file).write_text("tests: {stage: test}\n")

    code, out, err = worker("test", ".", folder=tmp_path)

    assert (code, err) == (0, "")
    assert "\n1 passed in " in out


def test_specs_do_not_see_the_handlers_of_each_other(tmp_path: Path) -> None:
    for name, number in (("one", 2), ("two", 3)):
        spec = SPEC.replace("shop_handlers", f"{name}_handlers").replace(
            "handler: large", "handler: double"
        )
        written(tmp_path, GOOD.replace("number: 4", f"number: {2 * number}"), name, spec)
        (tmp_path / f"{name}_handlers.py").write_text(
            "from worker import handler\n\n"
            f"@handler\ndef double(order: dict) -> dict:\n    return {{'number': {number} * 2}}\n"
        )

    code, out, err = worker("test", "one.test.yaml", "two.test.yaml", folder=tmp_path)

    assert (code, err) == (0, "")
    assert "\n2 passed in " in out


def test_only_tests_with_a_text_in_their_names_are_run(tmp_path: Path) -> None:
    written(tmp_path, GOOD + BAD)

    code, out, _ = worker("test", "shop.yaml", "--filter", "Doubled", folder=tmp_path)
    assert (code, "\n1 passed in " in out) == (0, True)

    code, out, err = worker("test", "shop.yaml", "--filter", "none", folder=tmp_path)
    assert (code, out) == (1, "")
    assert err == "Error: no test in shop.yaml has 'none' in its name\n"


def test_programs_read_the_results_and_junit_too(tmp_path: Path) -> None:
    written(tmp_path, GOOD + BAD)

    code, out, _ = worker(
        "test", "shop.yaml", "--output", "json", "--junit", "junit.xml", folder=tmp_path
    )

    assert code == 1
    good, bad = json.loads(out)
    assert (good["name"], good["passed"], good["differences"]) == ("numbers are doubled", True, [])
    (difference,) = bad["differences"]
    assert (difference["line"], difference["message"]) == (11, "4 instead of 6")
    (suite,) = ET.parse(tmp_path / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.text == "shop.test.yaml:11:28: expect.doubles[0].value.number: 4 instead of 6"


def test_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    written(tmp_path, GOOD.replace("orders", "order"), "one")
    written(tmp_path, "  a: {given: {orders: [{vlaue: 1}]}}\n", "two")

    code, out, err = worker("test", "one.yaml", "two.yaml", folder=tmp_path)

    assert (code, out) == (78, "")
    assert err.splitlines() == [
        "one.test.yaml:5:13: tests.numbers are doubled.given.order: the spec does not name topic "
        "'order'; did you mean 'orders'?",
        "two.test.yaml:4:25: tests.a.given.orders[0].vlaue: no such key; did you mean `value`?",
    ]


def test_mistakes_of_a_file_of_any_kind_are_told_in_one_round(tmp_path: Path) -> None:
    test = """\
  a:
    resources: {htpp: os.path}
    given:
      orders:
        - {key: a}
        - {value: 1, timestamp: yesterday}
        - {file: gone.jsonl}
        - {value: {base64: "!!!"}, partition: 99}
    faults:
      - {kill: now}
      - {raise: ConectionError}
      - {raise: worker.Reject, text: 5}
    dead_letters: [{reason: rejcted}]
"""
    spec = SPEC.replace("pipelines:", "topics: {orders: {partitions: 2}}\npipelines:")
    written(tmp_path, test, spec=spec)

    code, out, err = worker("test", "shop.test.yaml", folder=tmp_path)

    assert (code, out) == (78, "")
    assert [line.removeprefix("shop.test.yaml:").split(": ")[:2] for line in err.splitlines()] == [
        ["5:17", "tests.a.resources.htpp"],
        ["8:11", "tests.a.given.orders[0]"],
        ["9:11", "tests.a.given.orders[1]"],
        ["10:12", "tests.a.given.orders[2].file"],
        ["11:11", "tests.a.given.orders[3]"],
        ["11:36", "tests.a.given.orders[3].partition"],
        ["13:10", "tests.a.faults[0].kill"],
        ["14:10", "tests.a.faults[1].raise"],
        ["15:32", "tests.a.faults[2].text"],
        ["16:21", "tests.a.dead_letters[0].reason"],
    ]


def test_no_resource_is_missed_where_the_list_of_modules_is_missing(tmp_path: Path) -> None:
    test = """\
tests:
  a:
    resources: {http: os.path}
    given: {orders: [{value: 1, timestamp: yesterday}]}
"""
    shop(tmp_path, SPEC.replace("handlers: [shop_handlers]\n", "") + test)

    code, out, err = worker("test", "shop.yaml", folder=tmp_path)

    assert (code, out) == (78, "")
    assert [line.split(": ")[1] for line in err.splitlines()] == [
        "handlers",
        "tests.a.given.orders[0]",
    ]


def test_mistakes_of_a_file_are_errors_of_its_report_and_other_files_run(tmp_path: Path) -> None:
    written(tmp_path, GOOD.replace("orders", "order"), "one")
    written(tmp_path, GOOD, "two")
    written(tmp_path, GOOD, "three", SPEC.replace("handler: double,", "handler: duoble,"))

    code, out, err = worker("test", ".", "--junit", "junit.xml", folder=tmp_path)

    assert (code, len(err.splitlines())) == (78, 2)
    assert "ok     numbers are doubled  two.test.yaml:4" in out
    suites = {suite.get("name"): suite for suite in ET.parse(tmp_path / "junit.xml").getroot()}
    assert {
        name: (suite.get("tests"), suite.get("failures"), suite.get("errors"))
        for name, suite in suites.items()
    } == {
        "one.test.yaml": ("1", "0", "1"),
        "two.test.yaml": ("1", "0", "0"),
        "three.yaml": ("1", "0", "1"),
    }
    (error,) = suites["one.test.yaml"].iter("error")
    assert error.text == err.splitlines()[0]


def test_a_handler_that_is_not_there_is_a_mistake_of_the_spec(tmp_path: Path) -> None:
    written(tmp_path, GOOD, spec=SPEC.replace("handler: double,", "handler: duoble,"))

    code, _, err = worker("test", "shop.yaml", folder=tmp_path)

    assert code == 78
    assert "no handler is named 'duoble'; did you mean 'double'?" in err


@pytest.mark.parametrize("arguments", [[], ["empty"], ["shop.yaml"]])
def test_where_there_are_no_tests_that_is_said(tmp_path: Path, arguments: list[str]) -> None:
    shop(tmp_path)
    (tmp_path / "empty").mkdir()

    code, out, err = worker("test", *arguments, folder=tmp_path)

    assert (code, out) == (1, "")
    assert err.startswith("Error: there ")


def test_what_handlers_print_and_log_is_no_result(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    handlers = tmp_path / "shop_handlers.py"
    handlers.write_text(
        handlers.read_text().replace("    if order", "    print('here')\n    if order", 1)
    )

    _, out, err = worker("test", "shop.yaml", folder=tmp_path)
    assert ("here" in out, err) == (False, "here\n")

    _, _, err = worker("test", "shop.yaml", "--log-level", "info", folder=tmp_path)
    assert "assigned" in err


def test_a_process_that_a_handler_ends_is_no_end_of_the_command(tmp_path: Path) -> None:
    written(tmp_path, GOOD, "one")
    written(tmp_path, GOOD, "two", SPEC.replace("shop_handlers", "two_handlers"))
    (tmp_path / "two_handlers.py").write_text("import os\nos._exit(7)\n")

    code, out, err = worker("test", "one.yaml", "two.yaml", folder=tmp_path)

    assert (code, "1 passed" in out) == (78, True)
    assert err == (
        "two.test.yaml:1:1: tests: a handler, or what its module does, has ended the process\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["one.yaml"], 1), (["one.yaml", "two.yaml"], 1), (["one.yaml", "--watch"], 0)],
)
def test_ctrl_c_ends_the_command_although_a_handler_hangs(
    tmp_path: Path, arguments: list[str], code: int
) -> None:
    written(tmp_path, GOOD, "one")
    written(tmp_path, GOOD, "two")
    (tmp_path / "shop_handlers.py").write_text(HANGING)

    with subprocess.Popen(
        [sys.executable, "-m", "worker", "test", *arguments],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as testing:
        assert testing.stderr is not None
        assert testing.stderr.readline() == "here\n"

        testing.send_signal(signal.SIGINT)

        assert testing.stderr.read().strip() == ("Aborted!" if code else "")
        assert testing.wait(30) == code


def watch(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "worker", "test", "shop.yaml", "--watch"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_files_that_are_watched_are_tested_again_when_they_change(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    with watch(tmp_path) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith("ok ")
        watching.stdout.readline()

        handlers = tmp_path / "shop_handlers.py"
        handlers.write_text(handlers.read_text().replace("* 2", "* 3"))
        assert watching.stdout.readline().startswith("FAILED ")
        assert "6 instead of 4" in watching.stdout.readline()
        watching.stdout.readline()

        (tmp_path / "shop.test.yaml").write_text("version: 1\nspec: shop.yaml\ntests: {}\n")
        assert watching.stderr is not None
        assert "shop.test.yaml:3:1: tests: is empty" in watching.stderr.readline()

        (tmp_path / "shop.test.yaml").write_text(f"version: 1\nspec: shop.yaml\ntests:\n{BAD}")
        assert watching.stdout.readline().startswith("ok ")

        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 0


def test_a_change_while_tests_run_has_them_run_again(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    handlers = tmp_path / "shop_handlers.py"
    changed = handlers.read_text().replace("* 2", "* 3")
    handlers.write_text(f"{handlers.read_text()}\nprint('here')\nopen('go').read()\n")
    os.mkfifo(tmp_path / "go")
    with watch(tmp_path) as watching:
        assert watching.stderr is not None
        assert watching.stdout is not None
        assert watching.stderr.readline() == "here\n"

        handlers.write_text(changed)
        (tmp_path / "go").write_text("")

        told = [watching.stdout.readline() for _ in range(3)]
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 0

    assert [line.split()[0] for line in told] == ["ok", "1", "FAILED"]
