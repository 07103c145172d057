"""The workers: processes of the command line that are started, killed, stopped and paused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.faults.network import ROOT

LEAVE_WITHIN: Final = 60.0
"""Seconds after which a worker that was asked to stop is taken for one that never does."""


@dataclass
class Worker:
    """One process of a worker, and what it is expected to end with."""

    name: str
    """As `a.0`, the first one that is called `a`."""
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    began: float
    expected: int | None = None
    """The exit code that it is to have; None while it is to live."""
    ended: float | None = None

    @property
    def lives(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    @property
    def stands_still(self) -> bool:
        """Whether it is stopped in its tracks, and will go on."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    def get(self, path: str, timeout: float = 2.0) -> tuple[int, Any]:
        """Status and JSON of a path; 0 and the reason when nothing answers."""
        address = f"http://127.0.0.1:{self.port}{path}"
        try:
            with urllib.request.urlopen(address, timeout=timeout) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, json.load(answer)
        except (OSError, ValueError) as error:
            return 0, str(error)


@dataclass
class Crew:
    """Workers by their names, each with one process at a time, as a context manager."""

    spec: Path
    folder: Path
    ports: Mapping[str, int]
    program: Sequence[str] = ("worker", "run")
    workers: list[Worker] = field(default_factory=list)
    """All that ever were."""

    @property
    def names(self) -> list[str]:
        """The names, in order."""
        return sorted(self.ports)

    def of(self, name: str) -> Worker:
        """The last process of a name."""
        return next(one for one in reversed(self.workers) if one.name.startswith(f"{name}."))

    @property
    def living(self) -> list[Worker]:
        """Those that have not ended."""
        return [one for one in self.workers if one.lives]

    def start(self, name: str) -> Worker:
        """Start a process of this name."""
        before = sum(one.name.startswith(f"{name}.") for one in self.workers)
        full, port = f"{name}.{before}", self.ports[name]
        log = self.folder / f"worker-{full}.log"
        environ = {"FAULTS_NAME": full, "FAULTS_PORT": str(port), "FAULTS_FOLDER": str(self.folder)}
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", *self.program, str(self.spec), "--log-format", "json"],
                cwd=ROOT,
                env={**os.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )
        worker = Worker(full, process, port, log, time.time())
        self.workers.append(worker)
        return worker

    def kill(self, name: str) -> Worker:
        """End a worker at once, and wait until it has ended."""
        worker = self._told(name, -signal.SIGKILL)
        worker.process.kill()
        worker.process.wait()
        worker.ended = time.time()
        return worker

    def ask_to_stop(self, name: str) -> Worker:
        """Ask a worker to end in good order."""
        worker = self._told(name, 0)
        worker.process.send_signal(signal.SIGTERM)
        return worker

    def stop(self, name: str) -> Worker:
        """Ask a worker to end in good order, and wait until it has."""
        self.ask_to_stop(name)
        return self.until_ended(name)

    def until_ended(self, name: str) -> Worker:
        """Wait until a worker that was asked to stop has ended, as long as that may take."""
        worker = self.of(name)
        with suppress(subprocess.TimeoutExpired):
            worker.process.wait(LEAVE_WITHIN)
        worker.ended = time.time()
        return worker

    def _told(self, name: str, code: int) -> Worker:
        """Expect a code of a worker, unless it has ended by itself before anybody told it to."""
        worker = self.of(name)
        worker.expected = code if worker.lives else None
        return worker

    def pause(self, name: str) -> Worker:
        """Let a worker stand still."""
        worker = self.of(name)
        worker.process.send_signal(signal.SIGSTOP)
        return worker

    def resume(self, name: str) -> None:
        """Let it go on."""
        self.of(name).process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        for name in self.names:
            self.start(name)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self.living:
            worker.process.kill()
            worker.process.wait()
