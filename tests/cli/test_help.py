from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.cli.rig import SPEC, environment, shop, worker
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
SPECIFIED = ("plan", "apply", "doctor", "run", "graph", "dev")
"""Commands whose argument is a spec, for which a variable may stand."""


def imported(name: str) -> click.Command:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    return command


def modules(program: str, folder: Path) -> set[str]:
    """Those that a program of its own has imported in the end."""
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules, file=sys.stderr)"],
        env=environment(),
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split())


def test_help_imports_nothing_heavy_and_little_else(tmp_path: Path) -> None:
    click_alone = modules("import click, click.shell_completion", tmp_path)

    imported = modules(
        "from worker.cli import main\nmain(['--help'], standalone_mode=False)", tmp_path
    )

    assert imported.isdisjoint(HEAVY)
    assert len(imported - click_alone) < 25


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_of_itself_what_the_list_says_of_it_and_gives_an_example(name: str) -> None:
    command = imported(name)

    assert command.help is not None
    assert command.help.splitlines()[0] == COMMANDS[name]
    assert f"worker {name} " in command.help.partition("Example:")[2]


def options(command: click.Command) -> Iterator[click.Option]:
    """Those of a command, and of what is below it."""
    yield from (one for one in command.params if isinstance(one, click.Option))
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from options(below)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_variable_that_help_names_is_called_as_its_option_is(name: str) -> None:
    shown = [one for one in options(imported(name)) if one.show_envvar]

    for option in shown:
        (long,) = (name for name in option.opts if name.startswith("--"))
        variable = option.envvar or f"WORKER_{str(option.name).upper()}"
        assert variable == "WORKER_" + long.removeprefix("--").replace("-", "_").upper()


def test_a_variable_that_help_names_means_the_same_in_every_command() -> None:
    shown = [one for name in COMMANDS for one in options(imported(name)) if one.show_envvar]
    choices = [
        (option.envvar or str(option.name), tuple(option.type.choices))
        for option in shown
        if isinstance(option.type, click.Choice)
    ]

    assert len(dict(choices)) == len(set(choices))


def commands(command: click.Command) -> Iterator[click.Command]:
    """A command, or those below it."""
    if not isinstance(command, click.Group):
        yield command
        return
    for below in command.commands.values():
        yield from commands(below)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_prints_for_programs_takes_the_format_from_the_variable(
    name: str,
) -> None:
    for command in commands(imported(name)):
        if any(one.name == "output" for one in command.params):
            assert command.context_settings["auto_envvar_prefix"] == "WORKER", command.name


@pytest.mark.parametrize("name", SPECIFIED)
def test_a_variable_may_name_the_spec_of_every_command_that_takes_one(
    name: str, tmp_path: Path
) -> None:
    shop(tmp_path, SPEC.replace("version: 1", "version: 9"))

    code, _, err = worker(name, folder=tmp_path, WORKER_SPEC="shop.yaml")

    assert (code, err.partition(" ")[0]) == (78, "shop.yaml:1:1:")


@pytest.mark.parametrize("name", SPECIFIED)
def test_help_names_the_variable_of_the_spec(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([name, "--help"], standalone_mode=False)

    told = " ".join(capsys.readouterr().out.split())
    assert " SPEC The file of the spec. [env var: WORKER_SPEC] " in told


@pytest.mark.parametrize("name", ["apply", "dlq", "groups", "topics"])
def test_no_variable_confirms_what_cannot_be_taken_back(name: str) -> None:
    found = [one for one in options(imported(name)) if "--yes" in one.opts]

    assert found
    assert not any(one.allow_from_autoenv or one.envvar for one in found)


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
