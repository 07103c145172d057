"""A worker that is killed at a moment of a message's way to a retry topic; run by system tests.

    python -m tests.system.killed MOMENT TIMES SPEC

It ends by SIGKILL when the moment has come so many times, for so many records. Moments are named
by what is next. With `never` it is not killed, but no retry record of it gets to a broker.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from worker.app import Options, Wrap, build, load, unreadable
from worker.cli.ending import leave, stopped_by_signals
from worker.observe import logs
from worker.ports import Commits, Consumer, OnFailed, OnStored, Producer
from worker.settings.topics import is_retry_topic
from worker.types import Encoded

MOMENTS: Final = ("fence", "retry", "commit", "lift", "commit-of-retry")
"""A fence is to be written; it is stored, and the retry record is to be sent; that is stored, and
the offset is to be committed; the message is through, and its fence is to be lifted; retries are
through, and their offset is to be committed."""
NEVER: Final = "never"


class Trap:
    """Kills the process when its moment has come so many times."""

    def __init__(self, moment: str, times: int) -> None:
        if moment not in (*MOMENTS, NEVER):
            raise ValueError(f"there is no moment {moment!r}, only {', '.join(MOMENTS)}")
        self.withholds = moment == NEVER
        self._moment = moment
        self._times = times
        self._come = Counter[str]()
        self._stored = 0

    def come(self, moment: str, times: int = 1) -> None:
        """Note that a moment has come so many times."""
        self._come[moment] += times
        if moment == self._moment and self._come[moment] >= self._times:
            os.kill(os.getpid(), signal.SIGKILL)

    def store(self, retries: int) -> None:
        """Note that so many retry records are stored."""
        self._stored += retries

    def commit(self, through: int) -> None:
        """Note that offsets are to be committed, those of so many retries among them."""
        self.come("commit", self._stored)
        self.come("commit-of-retry", through)
        self._stored = 0


class TrappedProducer:
    """Comes to the moments of fences and retry records."""

    def __init__(self, port: Producer, trap: Trap) -> None:
        self._port = port
        self._trap = trap

    def __getattr__(self, name: str) -> Any:
        """Whatever is not here is the port's."""
        return getattr(self._port, name)

    def send(self, records: Sequence[Encoded], on_stored: OnStored, on_failed: OnFailed) -> int:
        """See `ports.Producer`."""
        fences = [record for record in records if record.topic.endswith(".fence")]
        lifted = sum(record.value is None for record in fences)
        retries = sum(is_retry_topic(record.topic) for record in records)
        self._trap.come("fence", len(fences) - lifted)
        self._trap.come("lift", lifted)
        self._trap.come("retry", retries)
        if retries and self._trap.withholds:
            return len(records)

        def stored(number: int) -> None:
            self._trap.store(retries)
            on_stored(number)

        return self._port.send(records, stored, on_failed)


class TrappedConsumer:
    """Comes to the moments of commits."""

    def __init__(self, port: Consumer, trap: Trap) -> None:
        self._port = port
        self._trap = trap

    def __getattr__(self, name: str) -> Any:
        """Whatever is not here is the port's."""
        return getattr(self._port, name)

    def commit(self, commits: Commits, *, wait: bool) -> None:
        """See `ports.Consumer`."""
        through = sum(one.offset for source, one in commits.items() if is_retry_topic(source.topic))
        self._trap.commit(through)
        self._port.commit(commits, wait=wait)


def main() -> None:
    moment, times, spec = sys.argv[1:]
    logs.configure("info", "text")
    trap = Trap(moment, int(times))
    consumer: Callable[[Consumer], Any] = lambda port: TrappedConsumer(port, trap)  # noqa: E731
    producer: Callable[[Producer], Any] = lambda port: TrappedProducer(port, trap)  # noqa: E731
    options = Options(wrap=Wrap(consumer, producer))
    worker = build(load(Path(spec), os.environ, options, unreadable), options)
    with stopped_by_signals(worker):
        code = worker.run()
    leave(code)


if __name__ == "__main__":
    main()
