"""The jars of Apache Kafka, pinned by coordinates and sha256 in `jars.txt`.

`python -m worker.kafka.jars` resolves them anew and prints the list; that walks every POM and takes
a minute, which is why the list is kept.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from worker.errors import BrokerUnavailable

log = logging.getLogger(__name__)

KAFKA: Final = "4.1.0"
ENDPOINT: Final = (
    f"org.apache.kafka:kafka_2.13:{KAFKA}+org.apache.kafka:kafka-tools:{KAFKA}"
    "+org.slf4j:slf4j-simple:1.7.36"
)
INSTALL: Final = "pip install 'stream-worker[broker]'"
DOWNLOADS: Final = 6


class Jar(NamedTuple):
    """A file by its Maven coordinates."""

    sha256: str
    group: str
    artifact: str
    version: str
    classifier: str

    def __str__(self) -> str:
        return ":".join(filter(None, (self.group, self.artifact, self.version, self.classifier)))


def pinned() -> list[Jar]:
    """The jars that make up a broker and its tools."""
    text = files("worker.kafka").joinpath("jars.txt").read_text()
    return [parse(line) for line in text.splitlines()]


def parse(line: str) -> Jar:
    """One line of `jars.txt`."""
    sha256, coordinates = line.split()
    group, artifact, version, *classifier = coordinates.split(":")
    return Jar(sha256, group, artifact, version, *(classifier or [""]))


def fetch(jars: Sequence[Jar]) -> list[Path]:
    """Download what is missing in the user's Maven cache, check all; raises `BrokerUnavailable`."""
    try:
        from jgo.maven import MavenContext  # noqa: PLC0415 - optional extra
    except ImportError as error:
        raise BrokerUnavailable(f"jgo is not installed: {INSTALL}") from error
    maven = MavenContext()
    with ThreadPoolExecutor(DOWNLOADS) as threads:
        return list(threads.map(lambda jar: _fetch_one(maven, jar), jars))


def check(jar: Jar, path: Path) -> None:
    """Raise `BrokerUnavailable` unless the file is the one that was pinned."""
    if hashlib.sha256(path.read_bytes()).hexdigest() != jar.sha256:
        raise BrokerUnavailable(f"{path} is not the {jar} that was pinned")


def _fetch_one(maven: Any, jar: Jar) -> Path:
    """Download beside the cache, check, then move: no other process ever sees half a jar."""
    path = _artifact(maven, jar).cached_path
    with suppress(FileNotFoundError, BrokerUnavailable):
        check(jar, path)
        return Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".stream-worker-", dir=path.parent) as staging:
        apart = type(maven)(repo_cache=Path(staging), remote_repos=maven.remote_repos)
        try:
            staged = Path(_artifact(apart, jar).resolve())
        except Exception as error:
            raise BrokerUnavailable(f"{jar} could not be downloaded: {error!r}") from error
        check(jar, staged)
        return staged.replace(path)


def _artifact(maven: Any, jar: Jar) -> Any:
    return maven.project(jar.group, jar.artifact).at_version(jar.version).artifact(jar.classifier)


def _resolve() -> list[str]:
    import jgo  # noqa: PLC0415 - optional extra

    artifacts = jgo.resolve(ENDPOINT)
    clients = {a.version for a in artifacts if a.artifactId == "kafka-clients"}
    if clients != {KAFKA}:
        sys.exit(f"kafka-clients was resolved to {clients}, not {KAFKA}")
    lines = []
    for artifact in artifacts:
        sha256 = hashlib.sha256(Path(artifact.resolve()).read_bytes()).hexdigest()
        lines.append(
            str(
                Jar(
                    sha256,
                    artifact.groupId,
                    artifact.artifactId,
                    artifact.version,
                    artifact.classifier,
                )
            )
        )
        lines[-1] = f"{sha256} {lines[-1]}"
    return sorted(lines, key=lambda line: line.split()[1])


if __name__ == "__main__":
    print("\n".join(_resolve()))  # noqa: T201 - this is the output
