"""The address of a worker's endpoint, as a command line names it."""

from __future__ import annotations

from typing import Any

import click

from worker.operate.watching import address_of


class Address(click.ParamType[str]):
    """Where a worker's endpoint is."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Complete it; what is no address is an error."""
        address = address_of(str(value))
        if address is None:
            self.fail(f"{value!r} is no address such as http://host:8080", param, ctx)
        return address
