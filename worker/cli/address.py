"""The address of a worker's endpoint, as a command line names it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import click

from worker.cli.options import is_said
from worker.operate.watching import address_of

HERE: Final = "http://127.0.0.1:8080"
"""Where a worker on this machine listens, unless its spec says otherwise."""

Command = Callable[..., Any]


class Address(click.ParamType[str]):
    """Where a worker's endpoint is."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Complete it; what is no address is an error."""
        address = address_of(str(value))
        if address is None:
            self.fail(f"{value!r} is no address such as http://host:8080", param, ctx)
        return address


def url_options(text: str, default: str | None = None) -> Callable[[Command], Command]:
    """URL and --url, which say the same; the command is given it as `url`."""
    argument = click.argument("place", type=Address(), required=False, metavar="[URL]")
    option = click.option(
        "--url",
        type=Address(),
        default=default,
        show_envvar=True,
        metavar="URL",
        help=text,
    )

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def locating(*, place: str | None, url: str | None, **others: Any) -> Any:
            if place is not None and is_said("url"):
                raise click.UsageError("give URL or --url, not both")
            return function(url=place or url, **others)

        return argument(option(locating))

    return decorate
