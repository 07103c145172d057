"""Which versions of its requests a broker takes, which the client tells in its log only."""

from __future__ import annotations

import logging
import re
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from worker.errors import ClientError
from worker.kafka.config import common
from worker.kafka.failures import failure, made
from worker.settings import KafkaSettings

log = logging.getLogger(__name__)

TXN_OFFSET_COMMIT: Final = 28
"""The request that adds offsets to a transaction, by its key in Kafka's protocol."""
SAYS_WHOSE: Final = 3
"""Its first version that says which member of the group the offsets are of (KIP-447)."""

_LINE: Final = re.compile(r"ApiKey \w+ \((\d+)\) Versions \d+\.\.(\d+)")
"""How librdkafka logs what a broker takes."""


def require_fencing(kafka: KafkaSettings, timeout: float) -> None:
    """Raise `ClientError` where brokers take offsets in a transaction of whoever was in the group.

    librdkafka falls back to that without a word, and a process that was taken for dead and goes on
    could commit what another one has done again.
    """
    newest = newest_versions(kafka, timeout)
    if not newest:
        log.warning("not known whether the brokers are of Kafka 2.5 or later, as is needed")
    elif newest.get(TXN_OFFSET_COMMIT, -1) < SAYS_WHOSE:
        raise ClientError(
            "these brokers are older than Kafka 2.5, and would take offsets from a process that "
            "its group has taken for dead",
            advice="upgrade them, or take `delivery: at_least_once`",
        )


def newest_versions(kafka: KafkaSettings, timeout: float) -> dict[int, int]:
    """The newest version of each request, by its key, that the brokers take which are asked.

    Asked is the first one that answers. Empty where the client does not say it as librdkafka 2.16
    does. Raises `ClientError` without an answer.
    """
    heard = _Heard()
    properties: Any = {**common(kafka), "statistics.interval.ms": 0, "debug": "feature"}
    client = made(lambda: AdminClient(properties, logger=heard))
    try:
        client.list_topics(timeout=timeout)
    except KafkaException as error:
        raise failure(error.args[0]) from error
    client.poll(0)
    return heard.newest


class _Heard:
    """What a client is given as its logger."""

    def __init__(self) -> None:
        self.newest: dict[int, int] = {}

    def log(self, _level: int, message: str, *args: object) -> None:
        found = _LINE.search(message % args)
        if found is not None:
            key, last = map(int, found.groups())
            self.newest[key] = min(last, self.newest.get(key, last))
