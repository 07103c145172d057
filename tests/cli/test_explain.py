"""`worker explain` as far as it goes without a broker."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
from click.shell_completion import ShellComplete

from tests.cli.rig import SPEC, shop, worker
from worker.cli import main
from worker.cli.commands.explain import Trace
from worker.cli.views import lives as views
from worker.cli.views.values import print_value
from worker.flow.life import (
    Found,
    Life,
    Missing,
    Place,
    Route,
    Standing,
    State,
    Step,
    lives_of,
    steps_of,
)
from worker.operate.explanation import Explanation, Told
from worker.types import Message

ROUTE = Route("doubles", "shop.doubles", ["orders"], outputs={"doubles"})
NASTY = Message.of(b"secret", topic="orders", offset=7, key=b"\x1b[2Jk\xff", timestamp=1_000)
FIRST = Place("orders", 0, 7)


def told(standing: Standing | None, **changes: object) -> Told:
    (life,) = lives_of([NASTY], [ROUTE])
    for name, value in changes.items():
        setattr(life, name, value)
    return Told(life, steps_of(life, {}), standing)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "give one of TOPIC/PARTITION/OFFSET, --key and --trace"),
        (("orders/0/1", "--key", "k"), "give one of TOPIC/PARTITION/OFFSET, --key and --trace"),
        (("orders/1",), "'orders/1' is not TOPIC/PARTITION/OFFSET such as orders/3/42"),
        (("--trace", "xyz"), "'xyz' is no trace: 32 hexadecimal digits, or a traceparent"),
        (("--key", "k", "--since", "soon"), "'soon' is not a time with its zone such as"),
        (("--key", "k", "--limit", "0"), "0 is not in the range x>=1"),
        (("--key", "k", "--seconds", "0"), "0.0 is not in the range x>0"),
    ],
)
def test_what_cannot_be_asked_is_told_with_what_is_legal(
    tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    shop(tmp_path)

    code, out, err = worker("explain", *arguments, "--spec", "shop.yaml", folder=tmp_path)

    assert (code, out) == (2, "")
    assert text in " ".join(err.split())


def test_without_a_broker_it_ends_with_69(tmp_path: Path) -> None:
    shop(tmp_path, SPEC.replace("nowhere.invalid", "127.0.0.1"))

    code, out, err = worker("explain", "--key", "k", "--spec", "shop.yaml", folder=tmp_path)

    assert (code, out) == (69, "")
    assert "no broker of 127.0.0.1:1 answered" in err


def test_a_trace_may_be_given_as_the_header_that_holds_it() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"

    assert Trace().convert(f"00-{trace}-b7ad6b7169203331-01", None, None) == trace
    assert Trace().convert(trace.upper(), None, None) == trace


def test_the_shell_completes_topics_of_the_spec(tmp_path: Path) -> None:
    shell = ShellComplete(main, {}, "worker", "_WORKER_COMPLETE")
    spec = str(shop(tmp_path))

    def completed(*arguments: str) -> list[str]:
        return [one.value for one in shell.get_completions(["explain", *arguments], "ord")]

    assert completed("--spec", spec) == ["orders/", "orders.dlq/"]
    assert completed() == []


@pytest.mark.parametrize(
    ("standing", "text"),
    [
        (Standing("finished", FIRST), "finished, at orders/0/7: no result found"),
        (Standing("unfinished", FIRST, 1_200), "1,200 offsets are in front of it"),
        (Standing("unfinished", FIRST), "it is the next one, at work, or waits"),
        (Standing("unfinished", FIRST, suspect=True), "may have ended the worker"),
        (Standing("not_begun", FIRST), "its group has committed nothing of that partition"),
        (Standing("waits", FIRST, due=61_000), "for another attempt, due in 60 s"),
        (Standing("dead", FIRST), "a dead letter at orders/0/7, which waits"),
        (Standing("parked", FIRST), "parked, from orders/0/7"),
        (Standing("dropped", FIRST), "dropped: no command moves the dead letter"),
        (Standing("redriven", FIRST), "redriven from orders/0/7, to where it is not found"),
        (None, "not known: its group does not say what it has committed"),
    ],
)
def test_where_a_message_has_come_to_is_said_in_words(standing: Standing | None, text: str) -> None:
    assert text in views.sentence(told(standing), now=1.0)


@pytest.mark.parametrize(
    ("found", "text"),
    [("trace", "finished, at orders/0/7: results found: 2"), ("key", "that may be its own: 2")],
)
def test_results_that_only_have_the_same_key_are_not_said_to_be_its_own(
    found: Found, text: str
) -> None:
    life = told(Standing("finished", FIRST))
    result = Step("result", 5, Place("done", 0, 1), "done", found_by=found)
    with_results = Told(life.life, [*life.steps, result, result], life.standing)

    assert text in views.sentence(with_results, now=1.0)


def test_results_of_which_some_are_its_own_are_counted_apart() -> None:
    life = told(Standing("finished", FIRST))
    result = Step("result", 5, Place("done", 0, 1), "done", found_by="context")
    steps = [*life.steps, result, result, result._replace(found_by="trace")]

    said = views.sentence(Told(life.life, steps, life.standing), now=1.0)

    assert "results found: 1, results that may be its own: 2" in said


def test_people_see_how_long_an_attempt_has_taken(capsys: pytest.CaptureFixture[str]) -> None:
    life = told(Standing("finished", FIRST))
    moved = Step("moved", 5_000, Place("retry", 0, 1), "retry", attempts=2, took=1_250)

    views.show(Explanation(datetime.now(UTC), [Told(life.life, [*life.steps, moved], None)]))

    head, *_, last = capsys.readouterr().out.strip().splitlines()[-3:]
    assert head.split()[-2:] == ["attempts", "took"]
    assert last.split()[-3:] == ["2", "1.250", "s"]


def test_what_cannot_be_read_leaves_open_what_became_of_a_finished_message() -> None:
    life = told(Standing("finished", FIRST))
    result = Step("result", 5, Place("done", 0, 1), "done", found_by="trace")
    blind = replace(life, unread=["orders.dlq"])

    told_blind = views.sentence(blind, now=1.0)
    assert told_blind.startswith("not known: its group is done with it at orders/0/7, ")
    assert "may lie in orders.dlq, not all of which was read" in told_blind
    assert "results found: 1" in views.sentence(replace(blind, steps=[result]), now=1.0)


def test_every_state_has_words() -> None:
    assert set(views.STATES) == set(get_args(State))


def test_people_see_no_payload_and_nothing_that_changes_their_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = Explanation(datetime.now(UTC), [told(Standing("finished", FIRST))])

    views.show(found)

    out, _ = capsys.readouterr()
    assert "secret" not in out
    assert "\x1b[2J" not in out
    assert r"key      \x1b[2Jk\xff" in out


def test_programs_get_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    found = Explanation(datetime.now(UTC), [told(Standing("finished", FIRST))])
    print_value(views.value_of(found), "json")

    (life,) = json.loads(capsys.readouterr().out)["lives"]
    assert life["steps"][0]["place"] == {"topic": "orders", "partition": 0, "offset": 7}
    assert life["key"] == {"base64": "G1sySmv/"}


@pytest.mark.parametrize(("missing", "found"), [("aborted", 1), ("open", 1), ("ahead", 0)])
def test_what_was_aborted_is_found_and_what_is_not_written_is_not(
    missing: Missing, found: int
) -> None:
    lives = [Told(Life(ROUTE, FIRST, missing=missing), [], None)]

    assert views.is_found(Explanation(datetime.now(UTC), lives)) == bool(found)
