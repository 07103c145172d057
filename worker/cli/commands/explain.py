"""`worker explain`: what has become of a message."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from worker.cli.exit_codes import FAILED
from worker.cli.opening import opened
from worker.cli.options import SETTINGS, Output, output_option, spec_option
from worker.cli.progress import progress
from worker.cli.selection import Moment
from worker.cli.spot import Spot
from worker.cli.views import lives as views
from worker.cli.views.values import print_value
from worker.flow.life import Place
from worker.observe import logs
from worker.operate.explaining import Explainer
from worker.operate.explanation import Explanation, Scope

_TRACE: Final = re.compile(r"(?:[0-9a-f]{2}-)?([0-9a-f]{32})(?:-[0-9a-f]{16}-[0-9a-f]{2})?")


class Trace(click.ParamType[str]):
    """The id of a trace."""

    name = "trace"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Parse an id, or the header that holds it."""
        found = _TRACE.fullmatch(str(value).lower())
        if found is None:
            self.fail(f"{value!r} is no trace: 32 hexadecimal digits, or a traceparent", param, ctx)
        return found[1]


@click.command("explain", context_settings=SETTINGS)
@click.argument("place", type=Spot(), required=False, metavar="[TOPIC/PARTITION/OFFSET]")
@spec_option("The spec: the cluster, the pipelines and their topics.")
@click.option("--key", metavar="KEY", help="The messages with this key, as UTF-8.")
@click.option("--trace", type=Trace(), metavar="ID", help="The messages of this trace.")
@click.option(
    "--since",
    type=Moment(),
    metavar="TIME",
    help="Read what was written then or later: a time with its zone, or how long ago, such as 2h. "
    "By default from just before the message, with --key and --trace from a day ago.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    metavar="N",
    help="Read topics for so long at most.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=10, metavar="N", help="Tell of so many messages."
)
@output_option()
def command(
    place: Place | None,
    spec: Path,
    key: str | None,
    trace: str | None,
    since: int | None,
    seconds: float,
    limit: int,
    output: Output,
) -> None:
    """Tell the life of a message: attempts, errors, where it went.

    The place may be one in a source, a retry topic, a dead-letter topic or a parking topic. Topics
    are read in no group, and nothing is committed. It needs a spec, whose pipelines say where
    messages go.

    \b
    Example:
      worker explain flights/3/42 --spec config/flights.yaml
      worker explain --key N14228 --since 2h --spec config/flights.yaml
    """
    logs.configure("warning", "auto")
    if sum(one is not None for one in (place, key, trace)) != 1:
        raise click.UsageError("give one of TOPIC/PARTITION/OFFSET, --key and --trace")
    explainer = opened(spec, lambda document: Explainer(document.spec))
    from_then = None if since is None else datetime.fromtimestamp(since / 1000, UTC)
    found = _look(explainer, place, key, trace, Scope(from_then, seconds, limit))
    if output == "table":
        views.show(found)
    else:
        print_value(views.value_of(found), output)
    if not views.is_found(found):
        sys.exit(FAILED)


def _look(
    explainer: Explainer, place: Place | None, key: str | None, trace: str | None, scope: Scope
) -> Explanation:
    with progress("reading") as tell:
        if place is not None:
            return explainer.of_place(place, scope, tell)
        if key is not None:
            return explainer.of_key(key.encode("utf-8", "surrogateescape"), scope, tell)
        return explainer.of_trace(trace or "", scope, tell)
