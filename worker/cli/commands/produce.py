"""`worker produce`: lines become records of a topic."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import click

from worker.cli.completion import TOPICS
from worker.cli.connecting import Target, cluster_options, require_topics
from worker.cli.ending import leave, stopped_by_signals
from worker.cli.exit_codes import FAILED, FORCED
from worker.cli.options import SETTINGS, Output, output_option
from worker.cli.progress import progress
from worker.cli.terminal import is_terminal
from worker.cli.views.values import print_value
from worker.errors import WorkerError
from worker.kafka.client import Kafka
from worker.kafka.lines import lines_of
from worker.kafka.written import Parse, from_json, plain
from worker.observe import logs
from worker.observe.text import escaped
from worker.operate.owned import replaced
from worker.operate.producing import Production
from worker.settings.secrets import secrets_of

TELL_EVERY: Final = 500
"""Lines between two reports of progress."""

Format = Literal["lines", "json"]
Numbered = tuple[int, bytes]


@click.command("produce", context_settings=SETTINGS)
@click.argument("topic", shell_complete=TOPICS)
@click.argument(
    "file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    default="-",
)
@cluster_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["lines", "json"]),
    default="lines",
    envvar="WORKER_FORMAT",
    show_envvar=True,
    help="lines: each is a value. json: each is an object with value, and perhaps key, headers, "
    "partition and timestamp, as `worker tap --output json` prints them.",
)
@click.option(
    "--key-separator",
    metavar="TEXT",
    help=r"Of lines: what stands behind the first TEXT is the value, before it the key; \t is tab.",
)
@click.option("--key-field", metavar="FIELD", help="Of lines of JSON: this field becomes the key.")
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write the lines that could not be sent to this file, as they are, in place of what it "
    "holds.",
)
@output_option()
def command(
    topic: str,
    file: Path,
    target: Target,
    form: Format,
    key_separator: str | None,
    key_field: str | None,
    rejects: Path | None,
    output: Output,
) -> None:
    """Send lines of a file, or of standard input, to a topic.

    The file may be packed with gzip; empty lines are passed over. A line that is no record, or
    that brokers refuse, is told with its number and the others are sent; the exit code is then 1.

    \b
    Example:
      worker produce flights flights.jsonl.gz --key-field tailnum --brokers localhost:9092
      worker tap orders --no-follow --from oldest --output json --spec shop.yaml |
        worker produce copies --format json --brokers elsewhere:9092
    """
    logs.configure("error", "auto", secrets=secrets_of(target.spec))
    parse = _parser(topic, form, key_separator, key_field)
    if rejects is not None:
        _require_place(rejects, file)
    with ExitStack() as stack:
        opened, name = _opened(file, stack)
        kafka = stack.enter_context(Kafka(target.kafka))
        require_topics(kafka, [topic])
        lines = Interruptible(lines_of(opened, name))
        production = Production(kafka, parse, partial(_complain, name, Rejects(rejects, stack)))
        stack.enter_context(stopped_by_signals(lines))
        try:
            _run(production, lines, opened)
        finally:
            _show(topic, production, output, ended=lines.ended and not production.broken)
    if production.failed or not lines.ended:
        sys.exit(FAILED)


class Interruptible:
    """Lines that a signal ends, even while none comes."""

    def __init__(self, lines: Iterator[Numbered]) -> None:
        self.ended = False
        """Whether all were read."""
        self._lines = lines
        self._stopped = False
        self._reading = False

    def __iter__(self) -> Iterator[Numbered]:
        while (line := self._next()) is not None:
            yield line

    def stop(self) -> None:
        """See `ending.Stoppable`; what was read is sent on, unless it is asked twice."""
        if self._stopped:
            leave(FORCED)
        self._stopped = True
        if self._reading:
            raise _Stopped

    def _next(self) -> Numbered | None:
        try:
            self._reading = True
            if self._stopped:
                return None
            line = next(self._lines, None)
            self.ended = line is None
        except _Stopped:
            return None
        else:
            return line
        finally:
            self._reading = False


class Rejects:
    """Lines that could not be sent, in a file that is made for the first of them."""

    def __init__(self, path: Path | None, stack: ExitStack) -> None:
        self._path = path
        self._stack = stack
        self._file: BinaryIO | None = None

    def add(self, line: bytes) -> None:
        """Write a line, if there is a path for them."""
        if self._path is None:
            return
        try:
            if self._file is None:
                self._file = self._stack.enter_context(replaced(self._path))
            self._file.write(line + b"\n")
        except OSError as error:
            raise WorkerError(f"{self._path} cannot be written: {error.strerror}") from error


class _Stopped(Exception):
    """A signal has come."""


def _parser(topic: str, form: Format, separator: str | None, field: str | None) -> Parse:
    given = {"--key-separator": separator, "--key-field": field}
    said = [name for name, value in given.items() if value is not None]
    if form == "json" and said:
        raise click.UsageError(f"{said[0]} is for --format lines; objects have a key of their own")
    if len(said) > 1:
        raise click.UsageError("give --key-separator or --key-field, not both")
    if form == "json":
        return from_json(topic)
    if separator is None:
        return plain(topic, None, field)
    if not separator:
        raise click.BadParameter("it is empty", param_hint="--key-separator")
    return plain(topic, separator.replace("\\t", "\t").encode("utf-8", "surrogateescape"), None)


def _opened(file: Path, stack: ExitStack) -> tuple[BufferedReader, str]:
    if str(file) != "-":
        return stack.enter_context(file.open("rb")), str(file)
    if sys.stdin is None:  # `<&-` leaves none
        raise click.UsageError("there is no standard input; give a FILE")
    if is_terminal(sys.stdin):
        click.echo("each line is sent as it ends; Ctrl-D is the end", err=True)
    stream: Any = sys.stdin.buffer
    return stream, "standard input"


def _run(production: Production, lines: Interruptible, file: BufferedReader) -> None:
    """Send the lines; of a file it is shown on a terminal how much of it is read."""
    size = os.fstat(file.fileno()).st_size
    with progress("sending") if size else nullcontext() as tell:
        production.run(lines if tell is None else _told(lines, file, size, tell))


def _told(
    lines: Interruptible, file: BufferedReader, size: int, tell: Callable[[int, int], None]
) -> Iterator[Numbered]:
    for count, line in enumerate(lines, 1):
        yield line
        if count % TELL_EVERY == 0:
            tell(file.tell(), size)
    tell(size if lines.ended else file.tell(), size)


def _complain(
    name: str, rejects: Rejects, number: int, line: bytes, problems: Sequence[str]
) -> None:
    for problem in problems:
        click.echo(escaped(f"{name}:{number}: {problem}"), err=True)
    rejects.add(line)


def _require_place(rejects: Path, file: Path) -> None:
    """Refuse before anything is sent what could not take the lines that are rejected."""
    if str(file) != "-" and rejects.exists() and file.samefile(rejects):
        raise click.BadParameter("it is the file that is read", param_hint="--rejects")
    folder, is_stream = rejects.parent, rejects.exists() and not rejects.is_file()
    if not is_stream and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        text = f"{folder} is no folder in which a file can be made"
        raise click.BadParameter(text, param_hint="--rejects")


def _show(topic: str, done: Production, output: Output, *, ended: bool) -> None:
    """Print what was sent and what was not."""
    last = None if ended else done.last
    if output != "table":
        value = {"topic": topic, "lines": done.lines, "acknowledged": done.acknowledged}
        print_value({**value, "failed": done.failed, "ended_after": last}, output)
        return
    failed = f", {done.failed:,} failed" if done.failed else ""
    click.echo(f"{topic}: {done.acknowledged:,} of {done.lines:,} lines acknowledged{failed}")
    if last is not None:
        click.echo(f"ended after line {last:,}: what follows was not sent", err=True)
