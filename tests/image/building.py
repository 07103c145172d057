"""Images built without an engine: by buildah in a chroot, on a Debian that mmdebstrap makes."""

from __future__ import annotations

import ast
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from configparser import RawConfigParser
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import certifi

from tests.image.container import Run
from worker.version import __version__

ROOT: Final = Path(__file__).parents[2]
TOOLS: Final = ("buildah", "mmdebstrap")
PACKAGES: Final = "base-files,dash,python3,python3-pip,python3-venv"
"""What the base is made of: unpacked and not configured, which takes a third of the time."""
PYTHON_IMAGE: Final = "localhost/python"
"""What stands for the official image of Python."""
BASE: Final = """\
FROM scratch
ADD base.tar /
ENV PATH=/usr/local/bin:/usr/bin:/bin
RUN ["python3", "--version"]
"""
IMAGE: Final = f"stream-worker:{__version__}"
GUARD: Final = """
cat
buildah --root="$1/storage" --runroot="$1/run" umount --all
umount "$1/storage/overlay"
rm -rf "$1"
"""
"""Removes a folder of images when the pipe closes from whoever made it, even by a kill."""
SECRET: Final = "nobody-is-to-see-this"
"""Stands in pip's settings while the image is built."""


class CommandFailed(Exception):
    """A command ended badly: its text, and what it has printed."""


class Unbuildable(Exception):
    """This machine cannot build images, and why."""


@dataclass(frozen=True)
class Image:
    """An image, unpacked."""

    root: Path
    inspected: Mapping[str, Any]

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """How it is to be run."""
        config: Mapping[str, Any] = self.inspected["OCIv1"]["config"]
        return config

    def run(
        self,
        *arguments: str,
        entrypoint: Sequence[str] | None = None,
        environ: Mapping[str, str] | None = None,
        volumes: Mapping[str, str] | None = None,
    ) -> Run:
        """How an engine would run it with these arguments; without any with its own."""
        own = dict(name.split("=", 1) for name in self.config["Env"])
        user, group = self.config["User"].split(":")
        command = self.config["Entrypoint"] if entrypoint is None else entrypoint
        return Run(
            root=str(self.root),
            command=[*command, *(arguments or self.config["Cmd"])],
            environ={"HOME": "/", **own, **(environ or {})},
            folder=self.config["WorkingDir"],
            user=int(user),
            group=int(group),
            volumes=volumes or {},
        )

    def told(self, *arguments: str, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            self.run(*arguments, **how).program,
            check=False,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )


class Builder:
    """Builds images, and keeps them in a folder."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._environ = {
            **os.environ,
            "BUILDAH_ISOLATION": "chroot",
            "TMPDIR": str(store),
        }

    def build(self, name: str, context: Path, *options: str) -> Image:
        """Build the folder's Dockerfile under a name, and unpack what has come of it."""
        self._buildah("build", "--tag", f"localhost/{name}", *options, str(context))
        container = self._buildah("from", "--pull-never", f"localhost/{name}").strip()
        described = {
            "root": self._buildah("mount", container).strip(),
            "inspected": json.loads(
                self._buildah("inspect", "--type", "image", f"localhost/{name}")
            ),
        }
        self._description(name).write_text(json.dumps(described))
        return self.image(name)

    def image(self, name: str) -> Image:
        """One that was built before, be it by another process."""
        described = json.loads(self._description(name).read_text())
        return Image(Path(described["root"]), described["inspected"])

    def _description(self, name: str) -> Path:
        return self._store / f"{name}.json"

    def _buildah(self, *arguments: str) -> str:
        storage = [f"--root={self._store}/storage", f"--runroot={self._store}/run"]
        return output(["buildah", *storage, *arguments], self._environ)


@contextmanager
def built_image() -> Iterator[str]:
    """Yield the folder of a `Builder` that has built the image; raises `Unbuildable`."""
    with temporary_folder() as store:
        builder = Builder(store)
        try:
            install_tools()
            build_base(builder, store / "base")
        except (OSError, CommandFailed) as error:
            raise Unbuildable(str(error)) from error
        builder.build(
            IMAGE,
            ROOT,
            *("--build-arg", f"PYTHON_IMAGE={PYTHON_IMAGE}"),
            *("--build-arg", "VERSION=1.2.3", "--build-arg", "REVISION=abc"),
            *(f"--secret=id={name},src={file}" for name, file in pip_files(store).items()),
        )
        yield str(store)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder of images for as long as the block goes on."""
    folder = mkdtemp(prefix="stream-worker-images-")
    with subprocess.Popen(
        ["sh", "-c", GUARD, "guard", folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ):
        yield Path(folder)


def install_tools() -> None:
    """Have the tools at hand, from Debian's packages where they are missing."""
    if os.geteuid() != 0:
        raise Unbuildable("only root can build an image without an engine")
    if platform.freedesktop_os_release()["ID"] != "debian":
        raise Unbuildable("the base of the image is made of Debian's packages, on Debian")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        output([*apt, "update"], environ)
        output([*apt, "install", "--yes", "--no-install-recommends", *missing], environ)


def build_base(builder: Builder, context: Path) -> None:
    """Build what stands for the official image of Python, of this machine's Debian."""
    context.mkdir()
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    archive = context / "base.tar"
    output(["mmdebstrap", "--variant=extract", f"--include={PACKAGES}", suite, str(archive)])
    (context / "Dockerfile").write_text(BASE)
    builder.build(PYTHON_IMAGE.removeprefix("localhost/"), context)
    archive.unlink()


def pip_files(folder: Path) -> dict[str, Path]:
    """Settings and certificates that let pip in a build ask whom pip asks on this machine."""
    settings, files = RawConfigParser(), {"pip.conf": folder / "pip.conf"}
    settings["global"] = {}
    for line in output([sys.executable, "-m", "pip", "config", "list"]).splitlines():
        key, value = line.split("=", 1)
        settings["global"][key.rpartition(".")[2]] = ast.literal_eval(value)
    files["ca.pem"] = Path(settings["global"].get("cert", certifi.where()))
    settings["global"]["cert"] = "/run/secrets/ca.pem"
    with files["pip.conf"].open("w") as file:
        file.write(f"# {SECRET}\n")
        settings.write(file)
    return files


def output(command: Sequence[str], environ: Mapping[str, str] | None = None) -> str:
    """What a command prints; raises `CommandFailed`."""
    done = subprocess.run(command, check=False, env=environ, capture_output=True, text=True)
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout
