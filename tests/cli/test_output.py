"""Standard output that nobody reads, or that cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.rig import SPEC, environment, shop

FULL = "Error: standard output cannot be written: No space left on device\n"
TABLE = """
from worker.cli.output import told_if_unwritable
from worker.cli.views.tables import print_table

with told_if_unwritable():
    print_table(("topic",), [("orders",)] * 10_000, texts=1)
"""
COMMANDS = [
    ("-m", "worker", "--help"),
    ("-m", "worker", "topics", "--help"),
    ("-m", "worker", "schema"),
    ("-m", "worker", "graph", "shop.yaml"),
    ("-u", "-m", "worker", "graph", "shop.yaml"),
    ("-c", TABLE),
]


def called(folder: Path, arguments: tuple[str, ...], output: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(),
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr


def unread(folder: Path, *arguments: str) -> tuple[int, str]:
    """The same where whoever reads standard output has ended."""
    there, here = os.pipe()
    os.close(there)
    try:
        return called(folder, arguments, here)
    finally:
        os.close(here)


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_full_disk_is_told_and_ends_with_1(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    shop(tmp_path)

    with Path("/dev/full").open("wb") as full:
        assert called(tmp_path, arguments, full.fileno()) == (1, FULL)


@pytest.mark.parametrize("arguments", COMMANDS)
def test_what_nobody_reads_any_more_is_no_failure(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    shop(tmp_path)

    assert unread(tmp_path, *arguments) == (0, "")


def test_a_command_does_all_of_its_work_and_ends_with_its_own_code_though_nobody_reads(
    tmp_path: Path,
) -> None:
    shop(tmp_path)
    (tmp_path / "wrong.yaml").write_text(SPEC.replace("version: 1", "version: 9"))

    code, err = unread(tmp_path, "-m", "worker", "validate", "shop.yaml", "wrong.yaml")

    assert code == 78
    assert err.startswith("wrong.yaml:1:1: version")
