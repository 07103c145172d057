"""librdkafka's statistics, and what they say of the connections."""

from __future__ import annotations

from typing import Any

import orjson

from worker.types import ClientTotals


class Statistics:
    """The last statistics of a client; parsed when they are asked for."""

    def __init__(self) -> None:
        self._text = "{}"

    def update(self, text: str) -> None:
        """Take the next statistics; the client's `stats_cb`."""
        self._text = text

    @property
    def connected(self) -> bool:
        """Whether at least one broker was connected when they were made."""
        return '"state":"UP"' in self._text

    def totals(self) -> ClientTotals:
        """The totals since the client was made."""
        stats: dict[str, Any] = orjson.loads(self._text)
        brokers = stats.get("brokers", {}).values()
        return ClientTotals(
            requests=stats.get("tx", 0),
            responses=stats.get("rx", 0),
            bytes_sent=stats.get("tx_bytes", 0),
            bytes_received=stats.get("rx_bytes", 0),
            messages_sent=stats.get("txmsgs", 0),
            messages_received=stats.get("rxmsgs", 0),
            queued=stats.get("msg_cnt", 0),
            brokers={
                broker["nodename"]: broker["state"] for broker in brokers if broker["nodeid"] >= 0
            },
        )
