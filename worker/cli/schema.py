"""`worker schema`: the JSON Schema of the spec, for editors."""

from __future__ import annotations

import json

import click

from worker.cli.options import SETTINGS
from worker.spec import json_schema


@click.command("schema", context_settings=SETTINGS)
def command() -> None:
    """Print the JSON Schema of the spec.

    An editor that knows YAML completes and checks a spec whose first line is
    `# yaml-language-server: $schema=pipeline.schema.json`.

    \b
    Example:
      worker schema > pipeline.schema.json
    """  # noqa: D301 - click's own mark
    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
