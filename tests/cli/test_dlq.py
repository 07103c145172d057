"""`worker dlq` as far as it goes without a broker."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from tests.cli.rig import SPEC, shop, worker
from worker.cli import main
from worker.cli.commands.groups import To
from worker.cli.reading import Start
from worker.cli.selection import Moment
from worker.cli.views import letters as views
from worker.cli.views.values import age, print_value
from worker.flow.ledger import Entry
from worker.flow.letters import read
from worker.kafka.mover import Progress
from worker.operate.deadletters import Kind, Survey
from worker.types import Message

REDRIVE = ("dlq", "redrive", "orders.dlq", "--spec", "shop.yaml")
NASTY = Message.of(
    b"\x1b[2Jpaid\xff",
    topic="orders.dlq",
    partition=3,
    offset=42,
    key=b"\xe2\x80\xae1",
    headers=[
        ("dlq.topic", b"orders"),
        ("dlq.partition", b"1"),
        ("dlq.offset", b"7"),
        ("dlq.reason", b"rejected"),
        ("dlq.error", b"Reject"),
        ("dlq.message", b"negative\x07"),
        ("x\x1b]0;", None),
    ],
    timestamp=1_000,
)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--since", "yesterday"), "'yesterday' is not a time with its zone such as"),
        (("--since", "2026-01-31T12:00:00"), "is not a time with its zone"),
        (("--offset", "42"), "'42' is not PARTITION:OFFSET or PARTITION:FIRST-LAST"),
        (("--offset", "3:9-2"), "'3:9-2' ends before it begins"),
        (("--rate", "0"), "0.0 is not in the range x>0"),
        (("--limit", "0"), "0 is not in the range x>=1"),
        (("--to", "secrets"), "the spec does not name 'secrets'; add --allow secrets"),
        (("--to", "orders.dlq"), "it is the topic that they are taken from"),
    ],
)
def test_an_option_that_cannot_be_is_told_with_what_is_legal(
    tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    shop(tmp_path)

    code, out, err = worker(*REDRIVE, *arguments, folder=tmp_path)

    assert (code, out) == (2, "")
    assert text in " ".join(err.split())


@pytest.mark.parametrize("command", ["show", "redrive", "park", "drop"])
def test_without_a_topic_or_a_spec_the_command_line_is_wrong(tmp_path: Path, command: str) -> None:
    shop(tmp_path)

    assert worker("dlq", command, "--spec", "shop.yaml", folder=tmp_path)[0] == 2
    assert worker("dlq", command, "orders.dlq", folder=tmp_path)[0] == 2


def test_mistakes_of_the_spec_are_told_all_at_once(tmp_path: Path) -> None:
    shop(tmp_path, SPEC.replace("port: 0", "port: 99999").replace("name: shop", "nme: shop"))

    code, out, err = worker("dlq", "list", "--spec", "shop.yaml", folder=tmp_path)

    assert (code, out) == (78, "")
    assert "shop.yaml:2:1: nme: " in err
    assert "shop.yaml:8:10: server.port: " in err


def test_handlers_need_not_be_there(tmp_path: Path) -> None:
    shop(tmp_path, SPEC.replace("shop_handlers", "nowhere").replace("nowhere.invalid", "127.0.0.1"))

    code, _, err = worker("dlq", "list", "--spec", "shop.yaml", folder=tmp_path)

    assert code == 69
    assert "no broker of 127.0.0.1:1 answered" in err


def test_the_shell_completes_the_dead_letter_topics_of_the_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = ShellComplete(main, {}, "worker", "_WORKER_COMPLETE")
    spec = str(shop(tmp_path))

    def completed(*arguments: str) -> list[str]:
        return [one.value for one in shell.get_completions(["dlq", *arguments], "ord")]

    assert completed("redrive", "--spec", spec) == ["orders.dlq"]
    assert completed("list", "--spec", spec) == ["orders.dlq"]
    assert completed("redrive") == []
    monkeypatch.setenv("WORKER_SPEC", spec)
    assert completed("show") == ["orders.dlq"]


def test_times_are_given_as_they_are_or_as_how_long_ago_they_were() -> None:
    moment = Moment()

    assert moment.convert("1970-01-01T01:00:01+01:00", None, None) == 1_000
    assert abs(moment.convert("2h", None, None) - (time.time() - 7_200) * 1000) < 60_000


@pytest.mark.parametrize(
    "text",
    [
        "soon",
        "2026-01-31T12:00:00",
        "999999999d",
        "999999d",
        "1969-12-31T23:59:59.999Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
    ],
)
@pytest.mark.parametrize("kind", [Moment(), Start(), To()])
def test_what_is_no_time_or_out_of_range_is_refused_with_what_is_legal(
    kind: click.ParamType[object], text: str
) -> None:
    with pytest.raises(click.BadParameter, match=r"is not .* how long ago such as 2h, .* of UTC"):
        kind.convert(text, None, None)


@pytest.mark.parametrize("kind", [Moment(), Start(), To()])
def test_a_time_may_be_as_old_or_as_far_ahead_as_there_is_a_date_for_it(
    kind: click.ParamType[object],
) -> None:
    first, last = "1970-01-01T00:00:00Z", "9999-12-31T23:59:58Z"

    for text in (first, last):
        date = datetime.fromisoformat(text)
        expected = date.timestamp() * 1000 if isinstance(kind, Moment) else date
        assert kind.convert(text, None, None) == expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (-5, "0s"), (59, "59s"), (60, "1m"), (7_199, "1h"), (86_400 * 3, "3d")],
)
def test_an_age_is_told_in_the_largest_unit_that_it_fills(seconds: int, text: str) -> None:
    assert age(0, seconds) == text


def test_what_a_dead_letter_holds_gives_the_terminal_no_orders(
    capsys: pytest.CaptureFixture[str],
) -> None:
    views.show_letter(read(NASTY), Entry("parked", "orders.dlq.parked", 0))

    lines = capsys.readouterr().out.split("\n")
    assert all(line.isprintable() for line in lines)
    assert lines[0] == r"orders.dlq[3]@42 rejected Reject: negative\x07"
    assert "  from     orders[1]@7" in lines
    assert "  failed   1970-01-01T00:00:01+00:00" in lines
    assert "  settled  parked to orders.dlq.parked" in lines
    assert r"  key      \u202e1" in lines
    assert r"  value    \x1b[2Jpaid\xff" in lines
    assert r"  header   x\x1b]0;: null" in lines


def test_a_payload_is_cut_off_for_people_but_not_for_programs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    letter = read(Message.of(b"x" * 5_000))

    views.show_letter(letter, None)
    print_value(views.value_of_letter(letter, None), "json")

    *_, shown, last = capsys.readouterr().out.splitlines()
    assert shown.endswith("x... (5,000 bytes; all with --output json)")
    assert json.loads(last)["value"] == "x" * 5_000


def test_json_has_all_of_a_dead_letter_in_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    print_value(views.value_of_letter(read(NASTY), None), "json")

    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    found = json.loads(out)
    assert found["value"] == {"base64": "G1sySnBhaWT/"}
    assert found["key"] == "\u202e1"
    assert found["origin"] == {"topic": "orders", "partition": 1, "offset": 7}
    assert (found["reason"], found["settled"]) == ("rejected", None)
    assert found["headers"][-1] == ["x\x1b]0;", None]


def test_counts_stand_by_topic_reason_and_handler(capsys: pytest.CaptureFixture[str]) -> None:
    survey = Survey("orders.dlq", {("rejected", "double"): Kind(1_234, 0)}, Counter(parked=2))

    views.show_surveys([survey])

    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1][:4] == ["orders.dlq", "rejected", "double", "1,234"]
    assert ["orders.dlq", "1,234", "0", "2", "0"] in rows


def test_what_was_moved_and_what_was_not_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(Counter({("redriven", "orders"): 3, ("dropped", None): 1}), Counter(cut=2))

    views.show_progress("orders.dlq", progress)

    assert capsys.readouterr().out.splitlines() == [
        "orders.dlq: 3 redriven to orders",
        "orders.dlq: 1 dropped",
        "2 cannot be moved: cut",
    ]
