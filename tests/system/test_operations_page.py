"""What docs/operations.md says to do at night, run on a worker with flights to handle.

Its other commands are run in `tests/helm/test_docs.py` and `tests/image`.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.cli.rig import worker as command
from tests.system.flights import Flights
from tests.system.rig import ROOT, Kafka, Worker, free_port, unique

TESTED = "What tests run of this page"
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")


def commands(heading: str) -> list[list[str]]:
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for line in block.splitlines()]


def test_the_page_says_of_every_command_whether_tests_run_it() -> None:
    page, found, told = PAGE.partition(f"\n## {TESTED}\n")
    assert found
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).splitlines() + re.findall(r"`((?:make|kubectl) [^`]*)`", page)

    named = re.findall(r"`([^`]*)`", told)
    assert [line for line in lines if not line.startswith(tuple(named))] == []
    assert {name for name in named if not any(line.startswith(name) for line in lines)} == {
        "Dockerfile",
        "compose.yaml",
    }


@pytest.mark.kafka
def test_every_command_for_the_night_answers(kafka: Kafka, tmp_path: Path) -> None:
    prefix, port = f"{unique('night')}.", free_port()
    flights = Flights(kafka, prefix)
    file = tmp_path / "flights.yaml"
    file.write_text(yaml.safe_dump({**flights.spec, "server": {"port": port}}))
    flights.create()
    flights.send()
    here = {
        "http://127.0.0.1:8080": f"http://127.0.0.1:{port}",
        "config/flights.yaml": str(file),
        "flights/0/42": f"{prefix}flights/0/42",
    }

    told = []
    with Worker(file, port, {"KAFKA_BROKERS": kafka.address}) as running:
        flights.until_through(running)
        for program, *arguments in commands("When something is wrong at night"):
            assert program == "worker"
            changed = [here.get(one, one) for one in arguments]
            told.append(command(*changed, folder=tmp_path, KAFKA_BROKERS=kafka.address))
        assert running.stop() == 0

    assert [code for code, _, _ in told] == [0] * len(told), told
    status, doctor, lag, letters, life = (out for _, out, _ in told)
    assert "ready" in status
    assert "no lag" in doctor
    assert f"{prefix}flights" in lag
    assert f"{prefix}flights.dlq" in letters
    assert "finished" in life
