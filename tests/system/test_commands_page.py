"""The commands of docs/commands.md run as they stand, one after the other, on a real Kafka."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from xml.etree import ElementTree as ET

import pytest

from tests.cli.rig import environment
from tests.cli.test_help import commands, imported
from tests.system.rig import DEADLINE, Kafka, free_port, unique
from worker import Message, Record
from worker.cli.exit_codes import TABLE
from worker.cli.group import COMMANDS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "commands.md").read_text("utf-8")

RUN = ("test", "graph", "produce", "tap", "capture", "replay", "status")
"""Commands with a block that is run."""


def scripts(page: str) -> dict[str, str]:
    """By section its block of commands."""
    sections = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    found = {
        one.partition("\n")[0]: re.findall(r"^```sh\n(.*?)^```", one, re.MULTILINE | re.DOTALL)
        for one in sections
    }
    return {section: blocks[0] for section, blocks in found.items() if blocks}


class Shell:
    """A shell for the blocks of the page, in the folder of its project."""

    def __init__(self, folder: Path, kafka: Kafka) -> None:
        self.folder = folder
        bin_folder = Path(sys.executable).parent
        path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
        self.environ = {**environment(PATH=path, KAFKA_BROKERS=kafka.address)}
        del self.environ["PYTHONPATH"]

    def run(self, script: str) -> tuple[int, str, str]:
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    @contextmanager
    def running(self, command: str, address: str) -> Iterator[None]:
        """A command beside the others, once it answers."""
        with subprocess.Popen(
            command.split(), cwd=self.folder, env=self.environ, stderr=subprocess.DEVNULL
        ) as process:
            try:
                _until_ready(address)
                yield
            finally:
                process.terminate()
        assert process.returncode == 0


def _until_ready(address: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/readyz") as answer:
                assert answer.status == 200
                return
        except URLError:
            pass
    raise AssertionError(f"{address} was never ready")


@pytest.mark.kafka
def test_every_command_of_the_page_does_what_it_says(kafka: Kafka, tmp_path: Path) -> None:
    name, address = unique("greet"), f"http://127.0.0.1:{free_port()}"
    page = PAGE.replace("greetings", name).replace("http://127.0.0.1:8080", address)
    blocks = scripts(page)
    shell = Shell(tmp_path, kafka)
    init, _cd, *tried, run = blocks.pop("worker init").splitlines()
    run, _, _ = run.partition("#")

    assert shell.run(init)[0] == 0
    shell.folder = tmp_path / name
    spec = shell.folder / "config" / f"{name}.yaml"
    spec.write_text(f"{spec.read_text()}\nserver: {{port: {address.rpartition(':')[2]}}}\n")
    code, out, err = shell.run("\n".join(tried))
    assert (code, f"config/{name}.yaml: ok\n" in out) == (0, True), err
    shell.environ["WORKER_URL"] = address
    readme = (shell.folder / "README.md").read_text("utf-8")
    blocks_of_readme = re.findall(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    _, started, beside, kept, _ = blocks_of_readme
    assert started.strip() == run.strip()

    told = {}
    with shell.running(run, address):
        for section, script in blocks.items():
            told[section] = shell.run(script)
        code, out, err = shell.run(beside)
        captured = shell.run(kept)

    codes = {section: code for section, (code, _, _) in told.items()}
    assert codes == {section: int(section == "worker replay") for section in blocks}, told
    assert {f"worker {one}" for one in RUN} == {*blocks}
    assert told["worker graph"][1].startswith("flowchart LR\n")
    ET.parse(shell.folder / f"{name}.svg")
    assert re.findall(r"(\d+) of \1 lines", told["worker produce"][1]) == ["4", "1", "1"]
    assert "lines acknowledged" in told["worker tap"][1]
    assert told["worker capture"][1].startswith("visitors.jsonl: 3 messages\n")
    (example,) = re.findall(rf"^```\n({name}.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert _without_figures(told["worker replay"][1]).startswith(
        _without_figures(example).removesuffix("  ...\n")
    )
    assert "  ready  up " in told["worker status"][1]
    assert (code, out.count("Welcome, "), "  ready  up " in out) == (0, 2, True), err
    assert (captured[0], captured[1]) == (0, "tests/more.jsonl: 4 messages\n"), captured


def _without_figures(text: str) -> str:
    text = re.sub(r"\d{4}-\d\d-\d\dT\S+", "TIME", text)
    return re.sub(r"after [\d.,]+ ms", "after a moment", text)


def test_every_command_is_in_the_table() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `worker ")]
    named = {name for row in rows for name in re.findall(r"`worker ([a-z]+)`", row)}

    assert named == set(COMMANDS)


def test_every_exit_code_is_in_the_table() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", PAGE, re.MULTILINE))

    assert {int(code): meaning for code, meaning in rows.items()} == TABLE


def sections(page: str) -> set[str]:
    """What links to the sections of a page say."""
    return {one.lower().replace(" ", "-") for one in re.findall(r"^##+ (.*)$", page, re.MULTILINE)}


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        name, _, section = target.partition("#")
        page = (DOCS / name).read_text("utf-8") if name else PAGE
        assert not section or section.lower() in sections(page), target


def test_the_function_that_redacts_does_what_it_is_shown_for() -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = {"json": json, "Message": Message, "Record": Record}
    exec(compile(example, "commands.md", "exec"), found)

    record = found["nameless"](Message.of(b'{"name": "Ada", "age": 36}', key=b"Ada"))

    assert record == Record({"name": "***", "age": 36}, key=None)


def test_every_option_and_variable_that_is_named_is_there() -> None:
    options, variables = {"--help"}, {"_WORKER_COMPLETE"}
    every = (command for name in COMMANDS for command in commands(imported(name)))
    for one in (one for command in every for one in command.params):
        options.update(one.opts)
        variables.add(f"WORKER_{(one.name or '').upper()}")

    assert set(re.findall(r"--[a-z][a-z-]+", PAGE)) <= options
    assert set(re.findall(r"_?WORKER_[A-Z_]+", PAGE)) <= variables
