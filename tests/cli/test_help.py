from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from tests.cli.rig import environment, worker
from worker.cli import exit_codes
from worker.cli.group import COMMANDS, main
from worker.engine import worker as engine
from worker.version import __version__

HEAVY = (
    "pydantic",
    "opentelemetry",
    "confluent_kafka",
    "rich",
    "orjson",
    "yaml",
    "prometheus_client",
)


def imported(name: str) -> click.Command:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    return command


def test_help_needs_less_than_150_milliseconds(tmp_path: Path) -> None:
    def once() -> float:
        begun = time.perf_counter()
        assert worker("--help", folder=tmp_path)[0] == 0
        return time.perf_counter() - begun

    assert min(once() for _ in range(5)) < 0.15


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom worker.cli import main\nmain(['--help'], standalone_mode=False)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr == "[]\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_of_itself_what_the_list_says_of_it_and_gives_an_example(name: str) -> None:
    command = imported(name)

    assert command.help is not None
    assert command.help.splitlines()[0] == COMMANDS[name]
    assert f"worker {name} " in command.help.partition("Example:")[2]


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_knows_both_flags_of_help(
    name: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main([name, flag], standalone_mode=False)

    assert "Example:" in capsys.readouterr().out


def test_help_lists_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"], standalone_mode=False)

    text = capsys.readouterr().out
    assert all(f"  {code:>2}  {meaning}\n" in text for code, meaning in exit_codes.TABLE.items())


def test_the_engine_ends_with_the_codes_of_the_table() -> None:
    assert (engine.DRAINED, engine.FAILED, engine.FATAL, engine.FORCED) == (
        exit_codes.OK,
        exit_codes.FAILED,
        exit_codes.FATAL,
        exit_codes.FORCED,
    )


def test_the_version_is_that_of_the_distribution(tmp_path: Path) -> None:
    code, out, _ = worker("--version", folder=tmp_path)

    assert code == 0
    assert out.endswith(f" {__version__}\n")


@pytest.mark.parametrize(
    "arguments", [("nothing",), ("run",), ("run", "missing.yaml"), ("broker", "--nodes", "2")]
)
def test_a_wrong_command_line_ends_with_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code, out, err = worker(*arguments, folder=tmp_path)

    assert (code, out) == (2, "")
    assert "Error: " in err
    assert "Traceback" not in err
