"""A worker with a bug, for the judge to find; the command line of a worker otherwise.

    python -m tests.faults.planted BUG SPEC [--log-format json]

A bug is made at the ports, none of it in the product.
"""

from __future__ import annotations

import logging
import os
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

from worker.app import Options, Wrap, build, load, unreadable
from worker.cli.ending import leave, stopped_by_signals
from worker.observe import logs
from worker.ports import Commits, OnFailed, OnStored
from worker.types import Commit, Encoded, Fetch

EACH: Final = 50
"""Of so many calls one is treated badly."""
EACH_COMMIT: Final = 5
"""Likewise of commits, of which there are fewer."""
AHEAD: Final = 50
"""Messages that are committed before they are handled, or once more after that."""
EXIT: Final = 7
RESULTS: Final = ("exact", "least")


class Bad:
    """Whatever is not here is the port's."""

    each = EACH

    def __init__(self, port: Any) -> None:
        self._port = port
        self._calls = count(1)

    def __getattr__(self, name: str) -> Any:
        """See above."""
        return getattr(self._port, name)

    @property
    def is_bad(self) -> bool:
        """Whether this call is one that is treated badly."""
        return next(self._calls) % self.each == 0


class Loses(Bad):
    """Says of some results that they are stored, and never sends them."""

    def send(self, records: Sequence[Encoded], on_stored: OnStored, on_failed: OnFailed) -> int:
        """See `ports.Producer`."""
        if len(records) < 2 or records[-1].topic not in RESULTS or not self.is_bad:
            return int(self._port.send(records, on_stored, on_failed))
        lost = [0]
        sent = int(self._port.send(records[:-1], lambda n: on_stored(n + lost[0]), on_failed))
        lost[0] = int(sent == len(records) - 1)
        return sent + lost[0]


class Doubles(Bad):
    """Writes some results twice."""

    def send(self, records: Sequence[Encoded], on_stored: OnStored, on_failed: OnFailed) -> int:
        """See `ports.Producer`."""
        if records[0].topic in RESULTS and self.is_bad:
            self._port.send(records[:1], lambda _: None, on_failed)
        return int(self._port.send(records, on_stored, on_failed))


class Reverses(Bad):
    """Writes what is written together the other way round."""

    def send(self, records: Sequence[Encoded], on_stored: OnStored, on_failed: OnFailed) -> int:
        """See `ports.Producer`."""
        return int(self._port.send(records[::-1], on_stored, on_failed))


class CommitsAhead(Bad):
    """Commits messages that are not handled yet."""

    def commit(self, commits: Commits, *, wait: bool) -> None:
        """See `ports.Consumer`."""
        self._port.commit(moved(commits, AHEAD), wait=wait)


class CommitsBack(Bad):
    """Commits now and then what was committed long ago."""

    each = EACH_COMMIT

    def commit(self, commits: Commits, *, wait: bool) -> None:
        """See `ports.Consumer`."""
        self._port.commit(moved(commits, -AHEAD) if self.is_bad else commits, wait=wait)


class Grows(Bad):
    """Keeps ever more memory."""

    def poll(self, limit: int, timeout: float) -> list[Fetch]:
        """See `ports.Consumer`."""
        kept.append(bytearray(random.randbytes(1 << 16)))
        found: list[Fetch] = self._port.poll(limit, timeout)
        return found


kept: list[bytearray] = []


def moved(commits: Commits, by: int) -> Commits:
    """Commits of the input so many messages further on."""
    return {
        source: Commit(max(0, one.offset + by)) if source.topic == "input" else one
        for source, one in commits.items()
    }


def producing(bad: Callable[[Any], Any]) -> Wrap:
    """Put a bug into what results are written with."""
    return Wrap(producer=bad, transactional=bad)


BUGS: Final[Mapping[str, Wrap]] = {
    "loses": producing(Loses),
    "doubles": producing(Doubles),
    "reverses": producing(Reverses),
    "commits-ahead": Wrap(consumer=CommitsAhead),
    "commits-back": Wrap(consumer=CommitsBack),
    "grows": Wrap(consumer=Grows),
    "ends-badly": Wrap(),
    "complains": Wrap(),
}


def main() -> None:
    bug, spec = sys.argv[1:3]
    logs.configure("info", "json")
    options = Options(wrap=BUGS[bug])
    worker = build(load(Path(spec), os.environ, options, unreadable), options)
    with stopped_by_signals(worker):
        code = worker.run()
    if bug == "complains":
        logging.getLogger("worker").error("something that nobody expects")
    leave(EXIT if bug == "ends-badly" else code)


if __name__ == "__main__":
    main()
