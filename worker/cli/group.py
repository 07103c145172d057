"""The command group; a command's module is imported when that command is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import click

from worker.cli.exit_codes import TABLE
from worker.cli.failures import report
from worker.cli.output import told_if_unwritable
from worker.errors import WorkerError
from worker.version import __version__

COMMANDS: Final = {
    "init": "Make a new project: spec, handler, test, image, chart values.",
    "run": "Run the pipelines of a spec until stopped.",
    "dev": "Run a spec on a broker of its own, fed with files.",
    "top": "Show a running worker, here or elsewhere, in the terminal.",
    "status": "Say once how a running worker is, here or elsewhere.",
    "plan": "Show what topics and rights lack, and change nothing.",
    "apply": "Make topics and rights what the spec says, as `worker plan` shows it.",
    "topics": "See topics of a cluster, make them and delete them.",
    "groups": "See consumer groups and their lag, and reset their offsets.",
    "validate": "Check specs and files of tests.",
    "test": "Run the tests of specs, with the real engine and handlers, and no broker.",
    "simulate": "Look for orders of events in which a promise of the worker is broken.",
    "schema": "Print the JSON Schema of the spec.",
    "graph": "Draw the topics and pipelines of a spec.",
    "monitoring": "Print the Grafana dashboard or the Prometheus alert rules.",
    "produce": "Send lines of a file, or of standard input, to a topic.",
    "tap": "Follow the messages of topics.",
    "capture": "Write messages of topics to a file, for tests and `worker replay`.",
    "dlq": "See dead letters, and have them handled again.",
    "replay": "Give a real record to a handler, here and now, and tell what would become of it.",
    "explain": "Tell the life of a message: attempts, errors, where it went.",
    "doctor": "Find out why lag grows, and what else is wrong.",
    "broker": "Run a real Apache Kafka in the foreground.",
}
"""The commands and what they do; each is `command` in the module `worker.cli.commands.{name}`."""

_EXIT_CODES = "\n".join(f"  {code:>2}  {meaning}" for code, meaning in TABLE.items())

EPILOG: Final = f"""\
\b
Exit codes:
{_EXIT_CODES}

\b
Shell completion:
  eval "$(_WORKER_COMPLETE=bash_source worker)"    also zsh_source, fish_source

Options can be given as environment variables, which each command's help names.
"""


class Commands(click.Group):
    """Commands that are imported when they are called; errors become messages and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names in the order of the table."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """The command, imported."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"worker.cli.commands.{cmd_name}").command
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(self, *args: Any, **extra: Any) -> Any:
        """Call the command; standard output that cannot be written ends it in the same way."""
        with told_if_unwritable():
            return super().main(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command; `WorkerError` ends as a message and an exit code, not a traceback."""
        try:
            return super().invoke(ctx)
        except WorkerError as error:
            ctx.exit(report(error))


@click.group(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def main() -> None:
    """Run Python functions on Apache Kafka as a YAML spec declares them.

    \b
    Examples:
      worker dev config/flights.yaml --feed flights=flights.jsonl.gz
      worker run config/flights.yaml --create-topics
    """  # noqa: D301 - click's own mark
