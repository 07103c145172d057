"""librdkafka's statistics, and what they say of the connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import orjson

from worker.ports import Offsets
from worker.types import BrokerTotals, ClientTotals, TopicPartition

T = TypeVar("T")

_COORDINATED: Final = ('"cgrp": { "state": "up"', '"source":"logical", "state":"UP"')
"""Signs that the coordinator is connected: the client calls its group up while it still logs in."""


class Statistics:
    """The last statistics of a client; parsed when they are asked for."""

    def __init__(self) -> None:
        self.connected = False
        """Whether at least one broker is connected."""
        self.coordinated = False
        """Whether the coordinator of the group is connected."""
        self.updates = 0
        """How often there were statistics."""
        self._lost: dict[str, int] = {}
        self._text: str | None = None
        self._topics: dict[str, Any] = {}
        self._totals = ClientTotals()

    def update(self, text: str) -> None:
        """Take the next statistics: the client's `stats_cb`."""
        self._text = text
        self.updates += 1
        self.connected = '"state":"UP"' in text
        self.coordinated = all(sign in text for sign in _COORDINATED)

    def totals(self) -> ClientTotals:
        """The totals since the client was made."""
        if self._text is not None:
            stats = orjson.loads(self._text)
            self._totals, self._topics = _totals(stats), stats["topics"]
            self._lost = {
                name: broker["disconnects"] + broker["req_timeouts"]
                for name, broker in stats["brokers"].items()
            }
            self._text = None
        return self._totals

    def lost(self) -> Mapping[str, int]:
        """How many connections were lost, and requests given up, by broker and coordinator.

        As long as it stays, nothing was asked again but what was answered.
        """
        self.totals()
        return self._lost

    def offsets(self, name: str, partitions: Iterable[TopicPartition]) -> Offsets:
        """One of the offsets that the client has of each partition, where it knows it."""
        self.totals()
        found = ((source, self._offset(name, source)) for source in partitions)
        return {source: offset for source, offset in found if offset >= 0}

    def _offset(self, name: str, source: TopicPartition) -> int:
        partitions = self._topics.get(source.topic, {}).get("partitions", {})
        offset: int = partitions.get(str(source.partition), {}).get(name, -1)
        return offset


def lost_between(before: Mapping[str, int], after: Mapping[str, int]) -> bool:
    """Whether anything was lost in between; of a broker that is known no more nobody can tell."""
    return not before.keys() <= after.keys() or any(
        count > before.get(name, 0) for name, count in after.items()
    )


def _totals(stats: dict[str, Any]) -> ClientTotals:
    return ClientTotals(
        requests=stats["tx"],
        responses=stats["rx"],
        bytes_sent=stats["tx_bytes"],
        bytes_received=stats["rx_bytes"],
        messages_sent=stats["txmsgs"],
        messages_received=stats["rxmsgs"],
        queued=stats["msg_cnt"] + stats["replyq"],
        brokers=_brokers(stats["brokers"].values(), lambda broker: broker["state"]),
        round_trips=_brokers(stats["brokers"].values(), _round_trip),
        traffic=_brokers(stats["brokers"].values(), _traffic),
    )


def _brokers(brokers: Iterable[Any], said: Callable[[Any], T]) -> dict[str, T]:
    """What is said of the brokers that the cluster has named; before it has, of the settings'."""
    by_source: dict[str, dict[str, T]] = {"learned": {}, "configured": {}}
    for broker in brokers:
        by_source.setdefault(broker["source"], {})[broker["nodename"]] = said(broker)
    return by_source["learned"] or by_source["configured"]


def _round_trip(broker: Any) -> float | None:
    """Seconds that an answer took on average lately; None when none was asked for."""
    lately = broker["rtt"]
    return lately["avg"] / 1_000_000 if lately["cnt"] else None


def _traffic(broker: Any) -> BrokerTotals:
    return BrokerTotals(
        requests=broker["tx"],
        responses=broker["rx"],
        bytes_sent=broker["txbytes"],
        bytes_received=broker["rxbytes"],
        connects=broker["connects"],
        disconnects=broker["disconnects"],
    )
