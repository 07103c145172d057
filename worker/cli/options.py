"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import click
from click.core import ParameterSource

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

Output = Literal["table", "json", "yaml"]

SETTINGS: Final[dict[str, Any]] = {"auto_envvar_prefix": "WORKER", "show_default": True}
"""Every option can be given as `WORKER_{OPTION}`."""


class Names(click.ParamType[tuple[str, ...]]):
    """Names with commas between them."""

    name = "name,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Split; an empty name is an error."""
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in str(value).split(","))
        if "" in names:
            self.fail(f"{value!r} has an empty name", param, ctx)
        return names


class Principal(click.ParamType[str]):
    """Whom Kafka's access control knows."""

    name = "principal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check that it has a type, which Kafka wants."""
        kind, _, name = str(value).partition(":")
        if not kind or not name:
            self.fail(f"{value!r} is not TYPE:NAME such as User:flights", param, ctx)
        return str(value)


class SpecArgument(click.Argument):
    """SPEC, in whose help stands its variable; click has that of options alone."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.help = f"The file of the spec.  [env var: {self.envvar}]"

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:  # noqa: ARG002 - click's
        """See `click.Parameter`; earlier versions of click have none for arguments."""
        return self.human_readable_name, str(self.help)


def is_said(parameter: str) -> bool:
    """Whether the command line itself gives a parameter, and no variable or default."""
    source = click.get_current_context().get_parameter_source(parameter)
    return source is ParameterSource.COMMANDLINE


def spec_argument() -> Callable[[Decorated], Decorated]:
    """SPEC: the file of a spec; `WORKER_SPEC` stands for it."""
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    return click.argument("spec", cls=SpecArgument, type=file, envvar="WORKER_SPEC", metavar="SPEC")


def spec_option(text: str) -> Callable[[Decorated], Decorated]:
    """--spec: the file of a spec, for commands with other arguments."""
    return click.option(
        "--spec",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        required=True,
        is_eager=True,
        envvar="WORKER_SPEC",
        show_envvar=True,
        metavar="FILE",
        help=text,
    )


def output_option() -> Callable[[Decorated], Decorated]:
    """--output: how to print."""
    choice = click.Choice(["table", "json", "yaml"])
    return click.option(
        "--output", type=choice, default="table", show_envvar=True, help="How to print."
    )


def planning_options(function: Decorated) -> Decorated:
    """--principal and --allow-delete: what a plan is about besides topics that are wanted."""
    principal = click.option(
        "--principal",
        type=Principal(),
        metavar="TYPE:NAME",
        show_envvar=True,
        help="Whose rights are looked at, such as User:flights: those that a worker needs.",
    )
    allow_delete = click.option(
        "--allow-delete",
        is_flag=True,
        show_envvar=True,
        help="Delete topics of tiers, fences and redriven dead letters that nothing configures any "
        "more, as far as they hold nothing that is to be handled and their group has no members.",
    )
    return principal(allow_delete(function))


def only_option() -> Callable[[Decorated], Decorated]:
    """--only: the pipelines to run."""
    return click.option(
        "--only",
        type=Names(),
        default=(),
        metavar="NAME,...",
        show_envvar=True,
        show_default=False,
        help="Run these pipelines only.",
    )


def path_option() -> Callable[[Decorated], Decorated]:
    """--path: where handlers are looked for."""
    folder = click.Path(exists=True, file_okay=False)
    return click.option(
        "--path",
        type=folder,
        multiple=True,
        metavar="DIR",
        show_envvar=True,
        help="Look for modules of handlers here, too, after the working directory. "
        "May be given more than once; the variable separates folders like PATH.",
    )


def log_options() -> Callable[[Decorated], Decorated]:
    """--log-level and --log-format."""
    level = click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
        default="info",
        show_envvar=True,
        help="Least severe level to log, on standard error.",
    )
    log_format = click.option(
        "--log-format",
        type=click.Choice(["text", "json", "auto"]),
        default="auto",
        show_envvar=True,
        help="How to log; auto is text on a terminal and JSON lines otherwise.",
    )

    def decorate(function: Decorated) -> Decorated:
        return level(log_format(function))

    return decorate
