"""What is printed of plans and groups, and completed of a spec's names."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from tests.cli.rig import SPEC, shop
from worker.cli.group import main
from worker.cli.views import groups, plans
from worker.flow.acls import Right
from worker.flow.layout import Configure, Create, Delete, Grant, Grow, Note, Step
from worker.flow.reset import Move, Moves
from worker.kafka.groups import GroupDetails, GroupLine, GroupMember
from worker.operate.groups import Lag, Reset
from worker.operate.planning import Plan
from worker.settings import TopicSettings
from worker.types import TopicPartition

CLEAR = "\x1b[2J\x07"
"""Its last character is one that click does not take out where there is no terminal."""
HERE = "spec.yaml:7"
STEPS: list[Step] = [
    Create("made", HERE, TopicSettings(replication=3, config={"retention.ms": 1})),
    Create("parked", HERE, TopicSettings(), "that of letters"),
    Grow("grown", HERE, 2, 4),
    Configure("set", HERE, {"retention.ms": ("1", "2"), "new": (None, "x")}),
    Delete("gone", HERE),
    Grant(Right("TRANSACTIONAL_ID", "shop.", "WRITE", "PREFIXED"), HERE, "User:bob"),
]


def test_a_plan_is_printed_line_by_line_with_its_places(capsys: pytest.CaptureFixture[str]) -> None:
    plans.show_plan(Plan(STEPS, [Note(HERE, "stays")], [Note(HERE, "take care")]))

    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"+ topic made: partitions the broker's number, replication 3, retention.ms 1  {HERE}",
        f"+ topic parked: partitions that of letters  {HERE}",
        f"~ topic grown: partitions 2 -> 4  {HERE}",
        f"~ topic set: retention.ms 1 -> 2, new ? -> x  {HERE}",
        f"- topic gone  {HERE}",
        f"+ acl for User:bob: Write on transactional id shop.*  {HERE}",
        f"! stays  {HERE}",
        "3 to create, 2 to change, 1 to delete; 1 left as they are",
    ]
    assert err == f"{HERE}: warning: take care\n"


def test_a_plan_is_told_to_programs() -> None:
    value = plans.value_of_plan(Plan(STEPS, [Note(HERE, "stays")], []))

    assert [step["action"] for step in value["steps"]] == [
        *("create", "create", "change", "change", "delete", "create")
    ]
    assert value["steps"][0]["to"] == {"replication": 3, "config": {"retention.ms": 1}}
    assert value["steps"][3]["from"] == {"config": {"retention.ms": "1", "new": None}}
    assert value["steps"][5]["right"]["name"] == "shop."
    assert value["left"] == [{"origin": HERE, "text": "stays"}]


def test_text_of_others_changes_nothing_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    source = TopicPartition(CLEAR, 0)
    member = GroupMember(CLEAR, None, CLEAR, CLEAR, [source])

    plans.show_plan(Plan([Delete(CLEAR, CLEAR)], [Note(HERE, CLEAR)], [Note(HERE, CLEAR)]))
    plans.show_done(STEPS[0], CLEAR)
    groups.show_list([GroupLine(CLEAR, "stable", "classic")], {})
    groups.show_details(GroupDetails(CLEAR, "stable", "classic", CLEAR, "host:1", [member]))
    groups.show_lag({CLEAR: [Lag(source, 1, 2, 0, 0)]})
    reset = Reset(CLEAR, Moves([Move(source, None, 1)], [], []), [CLEAR])
    groups.show_reset(reset, err=False)
    groups.show_refused(reset, {source: CLEAR})

    out, err = capsys.readouterr()
    assert "\x07" not in out + err
    assert out.count(r"\x1b[2J\x07") >= 10


def test_members_are_shown_with_what_they_read_by_topic(capsys: pytest.CaptureFixture[str]) -> None:
    sources = [TopicPartition("a", 0), TopicPartition("a", 3), TopicPartition("b", 1)]
    member = GroupMember("member-1", "web-0", "worker", "10.1.2.3", sources)

    groups.show_details(GroupDetails("g", "stable", "classic", "range", "host:1", [member]))

    assert "web-0  worker 10.1.2.3 a 0,3; b 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "begun", "names"),
    [
        (["groups", "describe"], "shop.", ["shop.doubles", "shop.large"]),
        (["groups", "reset", "shop.large", "--topic"], "dou", ["doubles"]),
        (["topics", "describe"], "dou", ["doubles"]),
    ],
)
def test_names_of_the_spec_are_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: list[str], begun: str, names: list[str]
) -> None:
    monkeypatch.setenv("WORKER_SPEC", str(shop(tmp_path, SPEC)))
    shell = ShellComplete(main, {}, "worker", "_WORKER_COMPLETE")

    assert [one.value for one in shell.get_completions(typed, begun)] == names


def test_topics_that_the_spec_implies_are_completed_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SPEC.replace("to: doubles,", "to: doubles, retry: {topics: [1m], keep_order: false},")
    monkeypatch.setenv("WORKER_SPEC", str(shop(tmp_path, spec)))
    shell = ShellComplete(main, {}, "worker", "_WORKER_COMPLETE")

    found = [one.value for one in shell.get_completions(["topics", "delete"], "")]

    assert {"orders.dlq.ledger", "shop.doubles.retry.0", "shop.doubles.redrive"} <= {*found}
