"""What a process of ours takes from where it is started, and what it leaves behind when it dies."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.security.canaries import family
from tests.system.rig import Kafka, Spec

HANDLERS = """
import multiprocessing
import sys

from worker import handler

@handler
def echo(payload: dict) -> dict:
    return payload
"""
SPEC = """
version: 1
name: planted
kafka: {brokers: "127.0.0.1:1"}
handlers: [own]
startup_timeout: 1s
pipelines: {echo: {from: a, to: b, handler: echo}}
"""
PLANTED = "raise SystemExit('the file of the working directory was run')\n"
MODULES = ("socket", "types", "pickle", "selectors", "yaml", "worker", "multiprocessing", "click")


@pytest.mark.parametrize("arguments", [["validate"], ["run"], ["run", "--processes", "2"]])
def test_no_file_of_the_working_directory_takes_the_place_of_a_module(
    tmp_path: Path, arguments: Sequence[str]
) -> None:
    for module in MODULES:
        (tmp_path / f"{module}.py").write_text(PLANTED)
    (tmp_path / "own.py").write_text(HANDLERS)
    (tmp_path / "spec.yaml").write_text(SPEC)

    command, *options = arguments
    done = subprocess.run(
        [Path(sys.executable).with_name("worker"), command, "spec.yaml", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "was run" not in done.stdout + done.stderr
    assert done.returncode == (0 if command == "validate" else 69), done.stderr


def limits(pid: int) -> str:
    """Of core dumps, soft and hard."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (found,) = [line.split()[4:6] for line in lines if line.startswith("Max core file size")]
    return " ".join(found)


@pytest.mark.kafka
def test_no_process_of_a_worker_leaves_a_core_dump(kafka_address: str, tmp_path: Path) -> None:
    spec = Spec(Kafka(kafka_address), tmp_path, "echo", {"pool": "process", "concurrency": 1})
    spec.create_topics()
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    hard = "unlimited" if most == resource.RLIM_INFINITY else str(most)

    with spec.worker("--processes", "2") as worker:
        worker.until(worker.is_ready)
        found = {limits(pid) for pid in family(worker.pid)}
        assert worker.stop() == 0

    assert found == {f"{min(1, most) if most >= 0 else 1} {hard}"}


def test_a_process_that_dies_leaves_no_core_dump(tmp_path: Path) -> None:
    """One without the limit shows whether the machine would write one at all."""
    die = "import os; os.abort()"
    forbid = f"from worker.__main__ import leave_no_core; leave_no_core(); {die}"
    allow = f"import resource as r; r.setrlimit(r.RLIMIT_CORE, (r.getrlimit(4)[1],) * 2); {die}"

    dumps = [dumped(code, tmp_path) for code in (allow, forbid)]

    if not dumps[0]:
        pytest.skip("this machine writes no core dumps")
    assert dumps == [True, False]


def dumped(code: str, folder: Path) -> bool:
    """Whether the kernel says that a process which dies so has left a dump."""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=folder, stderr=subprocess.DEVNULL)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return os.WCOREDUMP(status)
