"""A topic that is not there, as every command tells of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.rig import worker
from tests.system.rig import Kafka, Spec

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize(
    "command",
    [
        "topics describe TOPIC",
        "topics delete TOPIC --yes",
        "tap TOPIC",
        "produce TOPIC",
        "groups reset GROUP --to oldest --topic TOPIC",
        "dlq show TOPIC",
        "dlq list TOPIC",
        "dlq drop TOPIC --yes",
        "replay TOPIC/0/0",
        "explain TOPIC/0/0",
    ],
)
def test_every_command_says_the_same_of_it(kafka: Kafka, tmp_path: Path, command: str) -> None:
    spec = Spec(kafka, tmp_path, "echo")
    spec.create_topics()
    gone = f"{spec.source}x"
    words = command.replace("TOPIC", gone).replace("GROUP", spec.group).split()

    code, out, err = worker(*words, "--spec", spec.written(), folder=tmp_path)

    assert (code, out) == (1, "")
    assert err == (
        f"Error: topic {gone} does not exist, or is not shown to this user; "
        f"did you mean '{spec.source}'?\n"
    )


def test_all_that_are_not_there_are_told_at_once(kafka: Kafka, tmp_path: Path) -> None:
    spec = Spec(kafka, tmp_path, "echo")
    spec.create_topics()
    names, file = ("zzqq", "qqzz"), spec.written()
    options = [f"--topic={name}" for name in names]

    reset = ("groups", "reset", spec.group, "--to", "oldest", *options)
    for command in (("tap", *names), reset):
        code, _, err = worker(*command, "--spec", file, folder=tmp_path)
        assert code == 1
        assert [name for name in names if f"topic {name} does not exist" in err] == [*names]
