"""The examples of docs/testing.md run as they stand, in the project that they are of."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.system.rig import Kafka
from worker.operate.project import project, write

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text("utf-8")
TITLED = r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```"
"""A file, and what is in it."""

NOBODY = "localhost:1"
"""Where no Kafka is."""
LETTER = b'{"name": "Eve", "age": -1}'


@pytest.fixture
def name() -> str:
    """Of a project with topics that no other test has, and with a module as it is called."""
    return f"greetings{uuid.uuid4().hex[:8]}"


@pytest.fixture
def folder(tmp_path: Path, name: str) -> Path:
    """The project with all files of the page."""
    write(tmp_path, project(name))
    for path, text in re.findall(TITLED, PAGE.replace("greetings", name), re.MULTILINE | re.DOTALL):
        (tmp_path / path).write_text(text)
    return tmp_path


def run(folder: Path, address: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project, as on a machine of users with this Kafka."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WORKER_", "PYTHON", "PYTEST_"))
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=folder,
        env={**kept, "PATH": path, "KAFKA_BROKERS": address},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@pytest.mark.kafka
def test_the_tests_of_the_page_pass(folder: Path, kafka_address: str) -> None:
    options = ["-q", "-p", "no:cloudcoil", "-p", "no:cacheprovider"]
    done = run(folder, kafka_address, sys.executable, "-m", "pytest", *options)

    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


def block(name: str, command: str) -> str:
    """The block of commands that begins with this one."""
    (found,) = re.findall(
        rf"^```sh\n({command}.*?)^```", PAGE.replace("greetings", name), re.MULTILINE | re.DOTALL
    )
    return str(found)


def test_the_tests_of_specs_on_the_page_pass(folder: Path, name: str) -> None:
    done = run(folder, NOBODY, "bash", "-ec", block(name, "worker test"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^(\d+) passed in ", done.stdout, re.MULTILINE) == ["4", "1"]


def test_the_simulator_finds_no_promise_broken_in_the_specs_on_the_page(
    folder: Path, name: str
) -> None:
    done = run(folder, NOBODY, "bash", "-ec", block(name, "worker simulate"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("no promise broken") == 2


@pytest.mark.kafka
def test_the_commands_of_the_page_do_what_it_says(
    folder: Path, name: str, kafka_address: str
) -> None:
    kafka = Kafka(kafka_address)
    kafka.create(f"{name}.dlq")
    kafka.produce(f"{name}.dlq", [(b"Eve", LETTER, 0)])

    done = run(folder, kafka_address, "bash", "-c", block(name, "worker capture"))

    assert done.returncode == 1, done.stderr  # it is a dead letter again
    assert "tests/dead.jsonl: 1 message\n" in done.stdout
    assert "failed: rejected Reject: impossible age" in done.stdout


def test_every_block_of_python_is_in_a_file_that_is_run() -> None:
    files = re.findall(TITLED, PAGE, re.MULTILINE | re.DOTALL)

    assert len(files) == len(re.findall(r"^```(?:python|yaml|json)$", PAGE, re.MULTILINE)) > 0


def test_every_link_leads_somewhere() -> None:
    headings = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    sections = {f"#{one.lower().replace(' ', '-').replace(',', '')}" for one in headings}

    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        file, _, _ = target.partition("#")
        assert target in sections or (file and (ROOT / "docs" / file).exists()), target
