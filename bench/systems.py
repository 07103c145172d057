"""The systems under measurement, each a process of its own that does the work of `bare.py`."""

from __future__ import annotations

import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.process import ROOT, Process
from bench.rounds import Failed, Subject

START = 60
"""Seconds that a worker may take until it is ready."""
SPEC = """\
version: 1
name: bench
kafka: {{brokers: "{job.brokers}"}}
handlers: [bench.handler]
pipelines:
{pipelines}server: {{port: {port}}}
"""
PIPELINE = """\
  bench{number}:
    from: {job.source}
    to: {job.target}
    handler: {handler}
    group: {job.group}-{number}
    dead_letter: {job.source}.dlq
"""


@dataclass(frozen=True)
class Job:
    """What to read, what to write, and a folder for what a system keeps on disk."""

    brokers: str
    group: str
    source: str
    target: str
    folder: Path

    def arguments(self) -> list[str]:
        """The arguments of every script: `bare.py`, and those in `peers/`."""
        return [self.brokers, self.group, self.source, self.target, str(self.folder)]


@dataclass(frozen=True)
class System(Subject):
    """A system that does the work; `command` raises `Unavailable` when it cannot be had."""

    command: Callable[[Job], list[str]]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bare(settings: str) -> Callable[[Job], list[str]]:
    """The loop on the bare client, "tuned" or with librdkafka's "defaults"."""
    return lambda job: [sys.executable, "-m", "bench.bare", settings, *job.arguments()[:4]]


def worker(
    handler: str, settings: Sequence[str] = (), processes: int = 1, pipelines: int = 1
) -> Callable[[Job], list[str]]:
    """The worker from its command line, everything on; `settings` are lines of the pipeline.

    Several pipelines are alike, each in a group of its own.
    """

    more = "".join(f"\n    {line}" for line in settings)

    def command(job: Job) -> list[str]:
        alike = [
            PIPELINE.format(job=job, handler=handler + more, number=number)
            for number in range(pipelines)
        ]
        return [*_run(job, "".join(alike), free_port()), "--processes", str(processes)]

    return command


def worker_on(job: Job, port: int) -> list[str]:
    """The worker, as `worker("seen")`, with its endpoint on this port."""
    return _run(job, PIPELINE.format(job=job, handler="seen", number=0), port)


def _run(job: Job, pipelines: str, port: int) -> list[str]:
    spec = job.folder / "spec.yaml"
    spec.write_text(SPEC.format(job=job, pipelines=pipelines, port=port))
    return run_worker(spec)


def run_worker(spec: Path) -> list[str]:
    """The command line of the worker."""
    return [sys.executable, "-m", "worker", "run", str(spec), "--path", str(ROOT)]


@contextmanager
def ready_worker(spec: Callable[[int], str]) -> Iterator[tuple[Process, int]]:
    """A worker with the spec that is made for a port, once it is ready; and the port."""
    with tempfile.TemporaryDirectory() as folder:
        port, file = free_port(), Path(folder, "spec.yaml")
        file.write_text(spec(port))
        with Process(run_worker(file)) as process:
            _await_ready(process, port)
            yield process, port


def _await_ready(process: Process, port: int) -> None:
    """Wait until the worker at this port is ready."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.alive():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.1)
    raise Failed(f"was not ready in {START} s: {process.last_words()}")
