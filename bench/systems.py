"""The systems under measurement, each a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parent.parent

SPEC = """\
version: 1
name: bench
kafka: {{brokers: "{brokers}"}}
handlers: [bench.handler]
pipelines:
  bench:
    from: {source}
    to: {target}
    handler: {handler}
    group: {group}
    dead_letter: {dead_letter}
server: {{port: {port}}}
"""


@dataclass(frozen=True)
class Usage:
    """What a process has used: seconds of processor time and MiB of memory at its peak."""

    cpu: float
    rss: float


class Process:
    """A running system; `stop` ends it in good order and returns what it has used."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)

    def alive(self) -> bool:
        return self._process.poll() is None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.alive():
            self._process.kill()
            self._process.wait()

    def stop(self) -> Usage:
        self._process.send_signal(signal.SIGTERM)
        _, self._process.returncode, usage = os.wait4(self._process.pid, 0)
        if self._process.returncode:
            assert self._process.stderr is not None
            raise RuntimeError(self._process.stderr.read().decode())
        return Usage(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bare(brokers: str, group: str, source: str, target: str) -> Process:
    """The tuned loop on the bare client."""
    return Process([sys.executable, "-m", "bench.bare", brokers, group, source, target])


def ours(handler: str) -> Callable[[str, str, str, str], Process]:
    """The worker from its command line, everything on."""

    def start(brokers: str, group: str, source: str, target: str) -> Process:
        spec = Path(os.environ.get("TMPDIR", "/tmp")) / f"{group}.yaml"
        spec.write_text(
            SPEC.format(
                brokers=brokers,
                group=group,
                source=source,
                target=target,
                handler=handler,
                dead_letter=f"{source}.dlq",
                port=free_port(),
            )
        )
        return Process([sys.executable, "-m", "worker", "run", str(spec), "--path", str(ROOT)])

    return start


SYSTEMS: dict[str, Callable[[str, str, str, str], Process]] = {
    "bare loop": bare,
    "worker": ours("seen"),
    "worker, batch handler": ours("seen_batch"),
}
