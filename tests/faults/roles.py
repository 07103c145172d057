"""Who leads and who coordinates among brokers, as Kafka's own tools tell it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

QUORUM: Final = "org.apache.kafka.tools.MetadataQuorumCommand"
TRANSACTIONS: Final = "org.apache.kafka.tools.TransactionsCommand"
LEADER: Final = re.compile(r"^LeaderId:\s+(\d+)", re.MULTILINE)
GOING_ON: Final = frozenset({"Ongoing", "PrepareCommit", "PrepareAbort"})


@dataclass(frozen=True)
class Coordinated:
    """A transactional id, and the node that coordinates its transactions."""

    identity: str
    node: int


def quorum_leader(told: str) -> int | None:
    """The node that leads the controllers; None when nobody does."""
    found = LEADER.search(told)
    return None if found is None else int(found[1])


def going_on(told: str, prefix: str) -> list[Coordinated]:
    """The transactions that are going on of ids that begin like this."""
    rows = [line.split() for line in told.splitlines()[1:]]
    return [
        Coordinated(row[0], int(row[1]))
        for row in rows
        if row and row[0].startswith(prefix) and row[-1] in GOING_ON
    ]
