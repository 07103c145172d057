"""`worker produce` as far as it goes without a broker."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.rig import worker
from worker.cli.commands.produce import Rejects


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "Missing argument 'TOPIC'"),
        (("orders",), "say which cluster: give --spec FILE or --brokers"),
        (("orders", "nowhere.jsonl"), "File 'nowhere.jsonl' does not exist"),
        (("orders", "--key-separator", ":", "--key-field", "id"), "not both"),
        (("orders", "--key-separator", ""), "--key-separator: it is empty"),
        (("orders", "--format", "json", "--key-field", "id"), "--key-field is for --format lines"),
        (("orders", "--password-file", "-"), "cannot be the password and the lines: give a FILE"),
        (("orders", "--rejects", "nowhere/rejects"), "--rejects: nowhere is no folder in which"),
        (("orders", "--format", "xml"), "'xml' is not one of 'lines', 'json'"),
    ],
)
def test_a_wrong_command_line_is_told_with_what_is_legal(
    tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    brokers = () if arguments == ("orders",) else ("--brokers", "127.0.0.1:1")

    code, out, err = worker("produce", *arguments, *brokers, folder=tmp_path)

    assert (code, out) == (2, "")
    assert text in " ".join(err.split())


def test_nobody_else_can_read_lines_that_were_rejected_and_no_link_leads_them_elsewhere(
    tmp_path: Path,
) -> None:
    elsewhere, file = tmp_path / "elsewhere", tmp_path / "rejects"
    elsewhere.write_bytes(b"as it was")
    file.symlink_to(elsewhere)

    with ExitStack() as stack:
        Rejects(file, stack).add(b"payload")

    assert (file.read_bytes(), elsewhere.read_bytes()) == (b"payload\n", b"as it was")
    assert file.lstat().st_mode == stat.S_IFREG | 0o600
    assert {*tmp_path.iterdir()} == {file, elsewhere}


def test_lines_that_were_rejected_may_go_to_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "rejects"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    with ExitStack() as stack:
        Rejects(pipe, stack).add(b"payload")

    with open(reader, "rb") as lines:  # noqa: PTH123 - it is open already
        assert lines.read() == b"payload\n"
    assert pipe.is_fifo()


def test_without_a_broker_it_ends_with_69(tmp_path: Path) -> None:
    code, out, err = worker("produce", "orders", "--brokers", "127.0.0.1:1", folder=tmp_path)

    assert (code, out) == (69, "")
    assert "no broker of 127.0.0.1:1 answered" in err
