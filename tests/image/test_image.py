"""The image, built for real, and what an engine would run of it."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.image.building import PYTHON_IMAGE, ROOT, SECRET, Builder, Image, pip_files
from tests.system.flights import Flights
from tests.system.rig import Kafka, WorkerProcess, free_port, unique
from worker.operate.project import project, write

pytestmark = pytest.mark.timeout(600)

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
DOCS = (ROOT / "docs" / "operations.md").read_text("utf-8")
(EXAMPLE,) = re.findall(r"^```dockerfile\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)
HADOLINT = Path(sys.executable).with_name("hadolint")
MEGABYTE = 1_000_000


def linted(file: Path) -> str:
    return subprocess.run([HADOLINT, file], check=False, capture_output=True, text=True).stdout


def files_of(folder: Path) -> Iterator[Path]:
    """Every file below, links left out."""
    for where, _, names in os.walk(folder):
        files = (Path(where, name) for name in names)
        yield from (file for file in files if file.is_file() and not file.is_symlink())


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def size_of(folder: Path) -> int:
    """Bytes of the files below, each counted once."""
    found = {(of.st_dev, of.st_ino): of.st_size for of in (f.stat() for f in files_of(folder))}
    return sum(found.values())


@pytest.mark.skipif(not HADOLINT.exists(), reason="there is no hadolint for this machine")
def test_nothing_is_to_be_said_against_the_dockerfile_nor_against_those_of_the_docs(
    tmp_path: Path,
) -> None:
    assert linted(ROOT / "Dockerfile") == ""
    for example in (EXAMPLE, project("greetings")["Dockerfile"]):
        (tmp_path / "Dockerfile").write_text(example)
        assert linted(tmp_path / "Dockerfile") == ""


def test_a_change_of_the_code_leaves_the_layer_of_the_dependencies_as_it_is() -> None:
    before, installed, _ = DOCKERFILE.partition("-r requirements.lock\n")

    assert installed
    assert re.findall(r"^(?:COPY|ADD) .*", before, re.MULTILINE) == [
        "COPY requirements.lock requirements-build.lock ./"
    ]


def test_an_engine_is_told_how_to_run_it(image: Image) -> None:
    labels = image.config["Labels"]

    assert image.config["Entrypoint"] == ["worker"]
    assert image.config["Cmd"] == ["--help"]
    assert image.config["User"] == "10001:10001"
    assert image.config["WorkingDir"] == "/app"
    assert image.config["StopSignal"] == "SIGTERM"
    assert list(image.config["ExposedPorts"]) == ["8080/tcp"]
    assert "WORKER_LISTEN=0.0.0.0:8080" in image.config["Env"]
    told = {key.removeprefix("org.opencontainers.image."): text for key, text in labels.items()}
    assert told["version"] == "1.2.3"
    assert told["revision"] == "abc"
    assert told["base.name"] == PYTHON_IMAGE
    assert {"title", "description", "licenses"} <= told.keys()


def test_without_arguments_it_says_how_it_is_used(image: Image) -> None:
    done = image.told()

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: worker ")


def test_nobody_but_its_number_runs_in_it_and_it_can_write_nowhere_but_in_tmp(image: Image) -> None:
    look = "import os; print(os.getuid(), os.getgid(), os.getgroups(), os.getpid(), os.getcwd())"
    writing = "open('/tmp/a', 'w').close(); open('/app/a', 'w')"

    assert image.told("-c", look, entrypoint=["python"]).stdout == "10001 10001 [] 1 /app\n"
    assert (
        "Read-only file system: '/app/a'" in image.told("-c", writing, entrypoint=["python"]).stderr
    )


def test_nothing_that_it_brings_belongs_to_its_user_or_can_be_written_by_everybody(
    image: Image,
) -> None:
    assert list(files_of(image.root / "app")) == []
    for file in (image.root / "opt", image.root / "app", *files_of(image.root / "opt")):
        found = file.stat()
        assert (found.st_uid, found.st_gid) == (0, 0), file
        assert not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH), file


def test_nothing_of_how_it_was_built_is_left_in_it(image: Image) -> None:
    packages = next((image.root / "opt" / "venv" / "lib").glob("python3*/site-packages"))

    assert names(image.root / "opt") == {"venv"}
    assert not {"pip", "setuptools", "hatchling", "editables"} & names(packages)
    assert SECRET not in str(image.inspected)
    secret = SECRET.encode()
    places = [image.root / name for name in ("app", "build", "etc", "opt", "root", "run", "tmp")]
    files = [file for place in places for file in files_of(place)]
    assert [file for file in files if secret in file.read_bytes()] == []
    assert not any("PIP_" in variable for variable in image.config["Env"])


def test_traces_and_metrics_can_leave_it_over_otlp(image: Image) -> None:
    load = "import opentelemetry.exporter.otlp.proto.http.trace_exporter as it; print(it.__name__)"

    assert "trace_exporter" in image.told("-c", load, entrypoint=["python"]).stdout


def test_only_what_is_copied_is_sent_to_the_build(builder: Builder, tmp_path: Path) -> None:
    everything = tmp_path / "Dockerfile"
    everything.write_text("FROM scratch\nCOPY . /\n")

    sent = builder.build("sent", ROOT, "--file", str(everything)).root

    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    assert names(sent) == set(" ".join(copied).split())
    assert not [*sent.rglob("__pycache__")]


def test_the_docs_say_how_large_it_is(
    image: Image, record_property: Callable[[str, object], None]
) -> None:
    own, whole = size_of(image.root / "opt" / "venv"), size_of(image.root)
    record_property("image", f"{own / MEGABYTE:.0f} MB on a base of {(whole - own) / MEGABYTE:.0f}")

    (told,) = re.findall(r"adds (\d+) MB to its base", DOCS)
    assert int(told) == pytest.approx(own / MEGABYTE, rel=0.1)


def test_a_new_project_is_an_image_of_its_own(
    image: Image, builder: Builder, tmp_path: Path
) -> None:
    write(tmp_path, project("greetings"))

    own = builder.build("greetings", tmp_path)

    command, spec = own.config["Cmd"]
    assert command == "run"
    assert own.told("validate", spec).returncode == 0


@pytest.mark.kafka
def test_processes_of_a_worker_with_packages_as_in_the_docs_handle_all_flights(
    image: Image, builder: Builder, kafka: Kafka, tmp_path: Path
) -> None:
    flights, port = Flights(kafka, f"{unique('image')}."), free_port()
    flights.spec["pipelines"]["delays"]["pool"] = "process"
    lay(tmp_path / "project", EXAMPLE, flights.spec)
    flights.create()
    flights.send()

    own = builder.build("large", tmp_path / "project", *volumes(tmp_path))
    environ = {
        "KAFKA_BROKERS": kafka.address,
        "WORKER_LISTEN": f"127.0.0.1:{port}",
        "WORKER_PROCESSES": "2",
    }
    with WorkerProcess(own.run(environ=environ).program, port, tmp_path / "log") as worker:
        flights.until_through(worker)
        assert worker.stop() == 0

    assert own.told("-c", "import msgspec", entrypoint=["python"]).returncode == 0
    flights.look()


def lay(folder: Path, dockerfile: str, spec: dict[str, Any]) -> None:
    """A user's project: handlers, a spec, and a package that handlers need."""
    shutil.copytree(ROOT / "handlers", folder / "handlers")
    (folder / "config").mkdir()
    (folder / "config" / "flights.yaml").write_text(yaml.safe_dump(spec))
    (folder / "Dockerfile").write_text(dockerfile)
    lock = (ROOT / "requirements-dev.lock").read_text()
    (package,) = re.findall(r"^msgspec==[^#]*", lock, re.MULTILINE)
    (folder / "requirements.txt").write_text(package)


def volumes(folder: Path) -> list[str]:
    """Options that give a build this machine's settings of pip, whatever its Dockerfile says."""
    places = {"pip.conf": "/etc/pip.conf", "ca.pem": "/run/secrets/ca.pem"}
    return [f"--volume={file}:{places[name]}:ro" for name, file in pip_files(folder).items()]
