"""What is shipped: locked by hash, the same bytes each time, published by nobody's token."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
WORKFLOW = ROOT / ".github/workflows/release.yml"
NIGHTLY = ROOT / ".github/workflows/nightly.yml"
LOCKS = sorted(ROOT.glob("requirements*.lock"))
SOURCES = ("worker", "README.md", "LICENSE", "pyproject.toml", ".gitignore")


of_each_workflow = pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)


def workflow(file: Path = WORKFLOW) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text())
    return found


@of_each_workflow
def test_the_workflow_is_one_that_github_takes(file: Path) -> None:
    check = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
    ]

    done = subprocess.run([*check, file], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


@of_each_workflow
def test_every_action_is_pinned_by_its_commit_and_says_its_version(file: Path) -> None:
    used = re.findall(r"uses: *(.*)", file.read_text())

    assert len(used) >= 3
    for one in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one), one


def test_only_what_publishes_may_say_who_it_is_and_there_is_no_secret() -> None:
    jobs = workflow()["jobs"]

    assert workflow()["permissions"] == {}
    assert {name: job["permissions"] for name, job in jobs.items()} == {
        "build": {"contents": "read"},
        "publish": {"id-token": "write"},
    }
    assert jobs["publish"]["environment"] == "release"
    assert not [step for step in jobs["publish"]["steps"] if "run" in step]
    assert "${{" not in WORKFLOW.read_text(), "a name of a tag or a secret would get into a script"


def test_every_night_makes_what_the_makefile_has_and_may_only_read() -> None:
    (job,) = workflow(NIGHTLY)["jobs"].values()
    made = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert set(job["strategy"]["matrix"]["target"]) <= set(made)
    assert (workflow(NIGHTLY)["permissions"], job["permissions"]) == ({}, {"contents": "read"})


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_everything_that_is_installed_is_locked_by_its_hash(lock: Path) -> None:
    text = re.sub(r"\\\n", " ", lock.read_text())
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]

    assert lines
    for line in lines:
        assert re.match(r"[a-z0-9-]+(\[\w+\])?==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line


def built(folder: Path, *, mode: int, time: int, zone: str) -> dict[str, bytes]:
    """What comes of a copy of the sources whose files have such a mode and time."""
    for source in SOURCES:
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, folder / source)
    for file in folder.rglob("*"):
        os.utime(file, (time, time))
        if file.is_file():
            file.chmod(mode)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", "dist"],
        cwd=folder,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1790000000", "TZ": zone},
        capture_output=True,
        check=True,
    )
    return {file.name: file.read_bytes() for file in (folder / "dist").iterdir()}


def test_two_builds_of_the_same_sources_are_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()

    one = built(first, mode=0o600, time=1_000_000_000, zone="UTC")
    other = built(second, mode=0o664, time=1_700_000_000, zone="Asia/Tokyo")

    assert sorted(Path(name).suffix for name in one) == [".gz", ".whl"]
    assert one == other


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, check=True)


def test_what_is_released_is_the_commit_and_nothing_that_lies_beside_it(tmp_path: Path) -> None:
    for source in (*SOURCES, "Makefile"):
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, tmp_path / source)
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    (tmp_path / "worker/.env").write_text("PASSWORD=canary")
    (tmp_path / "worker/types.py").write_text("changed = True")

    make = ["make", "wheel", "-o", ".venv/.run", f"BIN={Path(sys.executable).parent}"]
    subprocess.run(make, cwd=tmp_path, capture_output=True, check=True)

    (wheel,) = (tmp_path / "dist").glob("*.whl")
    (source_distribution,) = (tmp_path / "dist").glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as packed:
        assert "worker/.env" not in packed.namelist()
        assert packed.read("worker/types.py") == (ROOT / "worker/types.py").read_bytes()
    with tarfile.open(source_distribution) as sources:
        assert not [name for name in sources.getnames() if name.endswith(".env")]
