"""A place in a topic, as a command line names it."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

from worker.cli.completion import TOPICS
from worker.flow.life import Place, place_from


class Spot(click.ParamType[Place]):
    """An offset of a partition of a topic."""

    name = "place"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Place:
        """Parse `orders/3/42`."""
        place = value if isinstance(value, Place) else place_from(str(value))
        if place is None:
            self.fail(f"{value!r} is not TOPIC/PARTITION/OFFSET such as orders/3/42", param, ctx)
        return place

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The topics of the spec."""
        return [CompletionItem(f"{one.value}/") for one in TOPICS(ctx, param, incomplete)]
