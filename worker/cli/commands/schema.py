"""`worker schema`: the JSON Schema of the spec, for editors."""

from __future__ import annotations

import json

import click

from worker.cli.options import SETTINGS
from worker.settings import Spec, TestFile
from worker.spec import json_schema


@click.command("schema", context_settings=SETTINGS)
@click.option("--tests", is_flag=True, show_envvar=True, help="That of files of tests instead.")
def command(tests: bool) -> None:
    """Print the JSON Schema of the spec.

    An editor that knows YAML completes and checks a spec whose first line is
    `# yaml-language-server: $schema=pipeline.schema.json`.

    \b
    Example:
      worker schema > pipeline.schema.json
      worker schema --tests > tests.schema.json
    """
    schema = json_schema(TestFile if tests else Spec)
    click.echo(json.dumps(schema, indent=2, ensure_ascii=False))
