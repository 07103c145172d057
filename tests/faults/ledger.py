"""What was written, and what those who wrote it were told of it."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path

import orjson


class Fate(StrEnum):
    """What is known of a record that was written."""

    SENT = "sent"
    """On its way."""
    STORED = "stored"
    """The cluster has it, and committed it if it was written in a transaction."""
    ABORTED = "aborted"
    """Its transaction was aborted."""
    DOUBTFUL = "doubtful"
    """Nobody knows: no answer came, or an error."""


class Ledger:
    """The fate of each record by the id of its message. Each id is one thread's."""

    def __init__(self) -> None:
        self.fates: dict[int, Fate] = {}

    def note(self, one: int, fate: Fate) -> None:
        """Note the fate of a record; what is aborted, or doubtful, stays so."""
        if self.fates.get(one) not in (Fate.ABORTED, Fate.DOUBTFUL):
            self.fates[one] = fate

    @property
    def counts(self) -> Counter[str]:
        """How many records there are of each fate."""
        return Counter(self.fates.copy().values())

    def write(self, file: Path) -> None:
        """Write it as lines of JSON, ids and fates."""
        lines = (orjson.dumps({"id": one, "fate": fate}) for one, fate in self.fates.items())
        file.write_bytes(b"\n".join(lines))
