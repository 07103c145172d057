"""`worker capture`: messages of topics into a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from worker.cli.completion import TOPICS
from worker.cli.connecting import Target, cluster_options
from worker.cli.options import SETTINGS, Output, output_option, path_option
from worker.cli.reading import Reading, messages_of, reading_options
from worker.cli.views.values import print_value
from worker.flow.counted import counted
from worker.observe import logs
from worker.observe.text import escaped
from worker.operate.capturing import Captured, NoHook, Redact, capture, redact_of
from worker.settings.secrets import secrets_of


@click.command("capture", context_settings=SETTINGS)
@click.argument("topics", nargs=-1, required=True, shell_complete=TOPICS, metavar="TOPICS...")
@click.option(
    "--out",
    "file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    required=True,
    metavar="FILE",
    help="Write to this file, in place of what it holds, once all is captured.",
)
@click.option(
    "--redact",
    "hook",
    metavar="MODULE:FUNCTION",
    help="Keep the worker.Record that this function makes of each message, and nothing where it "
    "gives None; where it raises, nothing is written.",
)
@cluster_options
@reading_options
@path_option()
@output_option()
def command(
    topics: Sequence[str],
    file: Path,
    hook: str | None,
    target: Target,
    reading: Reading,
    path: Sequence[str],
    output: Output,
) -> None:
    """Write messages of topics to a file, for tests and `worker replay`.

    A line of JSON for each, as `worker tap --output json` prints it, which `worker produce
    --format json` sends again. In no group, and nothing is committed. Ctrl-C ends it.

    \b
    Example:
      worker capture flights --out tests/flights.jsonl --from oldest --count 20 --spec flights.yaml
      worker capture orders --out orders.jsonl --from 1h --no-follow --redact privacy:nameless \\
        --brokers localhost:9092
    """
    logs.configure("error", "auto", secrets=secrets_of(target.spec))
    redact = None if hook is None else _redact(hook, path)
    with messages_of(target, topics, reading) as messages:
        done = capture(messages, file, redact)
    if output == "table":
        click.echo(_sentence(file, done))
    else:
        print_value(_value(file, done), output)


def _redact(name: str, path: Sequence[str]) -> Redact:
    try:
        return redact_of(name, path)
    except NoHook as error:
        raise click.BadParameter(str(error), param_hint="--redact") from None


def _sentence(file: Path, done: Captured) -> str:
    left_out = f", {done.left_out:,} left out" if done.left_out else ""
    return escaped(f"{file}: {counted(done.kept)}{left_out}")


def _value(file: Path, done: Captured) -> dict[str, Any]:
    return {"file": str(file), "messages": done.kept, "left_out": done.left_out}
