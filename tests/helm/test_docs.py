"""The commands in the docs of the chart, run as far as they go without a cluster."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.cli.rig import worker
from tests.helm.chart import CHART, ROOT, Chart
from tests.helm.reference import HEADING

BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def section(page: Path, heading: str) -> str:
    """A page from a heading of the second rank up to the next."""
    _, _, behind = page.read_text().partition(f"\n## {heading}\n")
    return behind.partition("\n## ")[0]


DOCS: Final = {
    "operations": section(ROOT / "docs" / "operations.md", "Deploy with Helm"),
    "chart": (CHART / "README.md").read_text().partition(HEADING)[0],
}


def commands(text: str) -> list[list[str]]:
    return [
        shlex.split(line, comments=True)
        for kind, block in BLOCK.findall(text)
        if kind == "sh"
        for line in block.splitlines()
    ]


def values(text: str) -> str:
    """The block that says it is values.yaml."""
    blocks = [block for kind, block in BLOCK.findall(text) if kind == "yaml"]
    (found,) = (block for block in blocks if block.startswith("# values.yaml\n"))
    return str(found)


def documents(chart: Chart, folder: Path, command: str, arguments: Sequence[str]) -> list[Any]:
    """What a command would make in a cluster; none where it only looks there, or goes back."""
    made_by = {"install": "template", "upgrade": "template"}
    local = [argument for argument in arguments if argument != "--install"]
    if command not in made_by:
        local.append("--help")  # which is reached where all options are known
    done = chart.helms[4].run(made_by.get(command, command), *local, cwd=folder)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout)) if command in made_by else []


@pytest.mark.parametrize("page", DOCS)
def test_every_command_in_the_docs_works(chart: Chart, tmp_path: Path, page: str) -> None:
    for name in ("helm", "config", "handlers"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "values.yaml").write_text(values(DOCS[page]))
    made: list[Any] = []

    for program, command, *arguments in commands(DOCS[page]):
        if program == "helm":
            made += documents(chart, tmp_path, command, arguments)
        else:
            assert program == "worker"
            code, _, err = worker(command, *arguments, folder=tmp_path)
            assert (code, err) == (0, "")

    assert made


def test_a_new_project_brings_values_for_the_chart(chart: Chart, tmp_path: Path) -> None:
    assert worker("init", "shop", folder=tmp_path)[0] == 0
    project = tmp_path / "shop"
    lines = commands((project / "README.md").read_text().replace("$STREAM_WORKER", str(ROOT)))

    ((_, command, *arguments),) = (line for line in lines if line[0] == "helm")
    made = documents(chart, project, command, arguments)

    (config,) = (one for one in made if one["kind"] == "ConfigMap")
    assert config["data"]["spec.yaml"] == (project / "config" / "shop.yaml").read_text()
    (workload,) = (one for one in made if one["kind"] == "Deployment")
    assert workload["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:1"
