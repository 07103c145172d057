"""`worker simulate`, as users call it."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.rig import environment, shop, worker

SPEC = """\
version: 1
name: shop
kafka: {brokers: "nowhere.invalid:1"}
handlers: [shop_handlers]
pipelines:
  double: {from: orders, handler: double, to: doubles, dead_letter: orders.dlq}
"""
CAREFUL = """\
from worker import handler


@handler
def double(order: dict) -> dict:
    return {"number": 2 * order["number"]}
"""
CARELESS = f"""\
{CAREFUL}

from worker.engine.outbox import Outbox

Outbox._failed = lambda self, chunk, place, error: self._stored(chunk, 1)
"""
"""Handlers whose module lets errors of deliveries pass for success."""

FEW = ["--messages", "60"]


def simulate(folder: Path, *arguments: str) -> tuple[int, str, str]:
    return worker("simulate", "shop.yaml", *FEW, *arguments, folder=folder)


def test_it_tells_that_no_promise_is_broken(tmp_path: Path) -> None:
    shop(tmp_path, SPEC)

    code, out, err = simulate(tmp_path, "--seeds", "6")

    assert (code, err) == (0, "")
    assert out.startswith("6 runs of 60 messages in ")
    assert "no promise broken" in out


def test_without_handlers_none_of_their_code_is_imported(tmp_path: Path) -> None:
    shop(tmp_path, SPEC)
    (tmp_path / "shop_handlers.py").write_text("raise SystemExit('imported')")

    code, out, _ = simulate(tmp_path, "--seed", "1")

    assert code == 0
    assert "1 run of 60 messages" in out


def test_handlers_are_given_the_lines_of_a_file(tmp_path: Path) -> None:
    shop(tmp_path, SPEC)
    handlers = tmp_path / "shop_handlers.py"
    handlers.write_text(
        CAREFUL.replace("return", "open('seen', 'a').write(f\"{order['number']} \")\n    return")
    )
    (tmp_path / "orders.jsonl").write_text('{"number": 7}\n{"number": 8}\n')

    code, out, err = simulate(tmp_path, "--seed", "1", "--handlers", "--payloads", "orders.jsonl")

    assert (code, err) == (0, ""), out
    assert set((tmp_path / "seen").read_text().split()) == {"7", "8"}


def test_what_handlers_print_is_no_result(tmp_path: Path) -> None:
    shop(tmp_path, SPEC)
    printing = CAREFUL.replace("return", "print('there')\n    return")
    (tmp_path / "shop_handlers.py").write_text(f"print('here')\n{printing}")
    (tmp_path / "orders.jsonl").write_text('{"number": 7}\n')

    _, out, err = simulate(tmp_path, "--seed", "1", *HANDLED, "--output", "json")

    assert json.loads(out)["broken"] == []
    assert {"here", "there"} == {*err.split()}


HANDLED = ["--handlers", "--payloads", "orders.jsonl"]


@dataclass(frozen=True)
class Careless:
    """A worker that breaks a promise, and what programs are told of it."""

    folder: Path
    told: dict[str, Any]

    @property
    def seed(self) -> str:
        return str(self.told["broken"][0]["seed"])


@pytest.fixture(scope="module")
def careless(tmp_path_factory: pytest.TempPathFactory) -> Careless:
    folder = tmp_path_factory.mktemp("careless")
    shop(folder, SPEC)
    (folder / "shop_handlers.py").write_text(CARELESS)
    (folder / "orders.jsonl").write_text('{"number": 7}\n')

    code, out, _ = simulate(folder, "--seeds", "40", *HANDLED, "--output", "json")

    assert code == 1
    return Careless(folder, json.loads(out))


def test_a_broken_promise_is_told_with_a_run_that_is_as_short_as_can_be(
    careless: Careless,
) -> None:
    (test,) = careless.told["test"]["tests"].values()

    assert len(test["schedule"]["events"]) == 1
    assert len(test["schedule"]["given"]) < 6
    assert any(">>> " in line for line in careless.told["timeline"])
    assert any("log: " in line for line in careless.told["timeline"])


def test_its_test_fails_until_the_promise_holds(tmp_path: Path, careless: Careless) -> None:
    shop(tmp_path, SPEC)
    handlers = tmp_path / "shop_handlers.py"
    (tmp_path / "shop.test.yaml").write_text(json.dumps(careless.told["test"]))

    handlers.write_text(CARELESS)
    failing, told, _ = worker("test", "shop.test.yaml", folder=tmp_path)
    handlers.write_text(CAREFUL)
    passing, _, _ = worker("test", "shop.test.yaml", folder=tmp_path)

    assert (failing, passing) == (1, 0)
    assert careless.told["broken"][0]["promise"] in told


def test_a_seed_is_told_the_same_again(careless: Careless) -> None:
    arguments = ["--seed", careless.seed, *HANDLED, "--output", "json"]

    _, again, _ = simulate(careless.folder, *arguments)

    assert json.loads(again)["test"] == careless.told["test"]
    assert json.loads(again)["timeline"] == careless.told["timeline"]


def test_people_see_the_time_line_and_the_test(careless: Careless) -> None:
    code, out, _ = simulate(careless.folder, "--seed", careless.seed, *HANDLED)

    assert code == 1
    assert out.startswith("broken: ")
    assert "\nThe test that repeats it, as a file beside shop.yaml:\n\nversion: 1\n" in out
    assert out.splitlines()[-1].endswith(f"promises broken by 1: seed {careless.seed}")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_seed_is_told_as_soon_as_it_is_found_and_not_lost_by_an_early_end(
    careless: Careless, end: signal.Signals
) -> None:
    """Ctrl-C comes to all processes, SIGTERM to the one that was started."""
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "worker",
            "simulate",
            "shop.yaml",
            *FEW,
            "--seeds",
            "1000",
            *HANDLED,
        ],
        cwd=careless.folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    ) as searching:
        assert searching.stderr is not None
        told = re.fullmatch(r"seed (\d+) breaks a promise: .+\n", searching.stderr.readline())
        (os.killpg if end == signal.SIGINT else os.kill)(searching.pid, end)
        out, err = searching.communicate(timeout=60)

    assert told is not None
    others = [line for line in err.splitlines() if not line.startswith("seed ")]
    assert (searching.returncode, out, others) == (1, "", ["", "Aborted!"])
    code, out, err = simulate(careless.folder, "--seed", told[1], *HANDLED)
    assert (code, err) == (1, told[0])


def test_mistakes_of_the_spec_and_empty_files_are_told(tmp_path: Path) -> None:
    shop(tmp_path, SPEC.replace("from:", "form:"))
    (tmp_path / "empty").write_text("")

    code, _, err = simulate(tmp_path)
    assert code == 78
    assert "shop.yaml:" in err

    code, _, err = simulate(tmp_path, "--payloads", "empty")
    assert code == 1
    assert "empty has no lines; each is what a message holds" in err

    (tmp_path / "cut").write_bytes(gzip.compress(b"{}\n")[:-12])
    code, _, err = simulate(tmp_path, "--payloads", "cut")
    assert (code, err.count("cut cannot be read: ")) == (1, 1)


def test_topics_of_a_pattern_are_named_on_the_command_line(tmp_path: Path) -> None:
    shop(tmp_path, SPEC.replace("from: orders", "from: ^orders.b$"))

    without = simulate(tmp_path, "--seed", "1")
    unread = simulate(tmp_path, "--seed", "1", "--topic", "others")
    named = simulate(tmp_path, "--seed", "1", "--topic", "orders.b", "--output", "json")

    assert without == (
        1,
        "",
        "Error: pipeline double reads what matches ^orders.b$, and the spec names no such topic; "
        "name one that messages come to: --topic NAME\n",
    )
    assert unread == (1, "", "Error: no pipeline reads others; they read ^orders.b$\n")
    assert (named[0], json.loads(named[1])["broken"]) == (0, [])


def test_a_test_that_repeats_a_run_may_name_topics_of_a_pattern(tmp_path: Path) -> None:
    shop(tmp_path, SPEC.replace("from: orders", "from: ^orders.b$"))
    (tmp_path / "shop.test.yaml").write_text(
        """\
version: 1
spec: shop.yaml
tests:
  it is: {schedule: {given: [{topic: orders.b}], events: []}}
"""
    )

    code, out, err = worker("test", "shop.test.yaml", folder=tmp_path)

    assert (code, err) == (0, ""), out


def test_what_a_schedule_names_has_to_be_in_the_spec(tmp_path: Path) -> None:
    shop(tmp_path, SPEC)
    (tmp_path / "shop.test.yaml").write_text(
        """\
version: 1
spec: shop.yaml
tests:
  it is:
    schedule:
      given: [{topic: oders}]
      events: [{what: kill, pipeline: doubel, call: poll, number: 1}]
"""
    )

    code, _, err = worker("test", "shop.test.yaml", folder=tmp_path)

    assert code == 78
    assert "the spec does not name topic 'oders'" in err
    assert "no pipeline is named 'doubel'" in err
