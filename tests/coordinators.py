"""Which broker coordinates a group, or the transactions of a producer."""

from __future__ import annotations

from typing import Final

from confluent_kafka.admin import AdminClient

GROUPS: Final = "__consumer_offsets"
TRANSACTIONS: Final = "__transaction_state"


def coordinator(address: str, log: str, name: str) -> int:
    """The node that leads the partition of the log where this name is, by Java's `hashCode`.

    While none does, brokers say -1, which is waited out.
    """
    number = 0
    for letter in name:
        number = (31 * number + ord(letter)) & 0xFFFFFFFF
    client = AdminClient({"bootstrap.servers": address})
    node = -1
    while node < 0:
        leaders = client.list_topics(log, 10).topics[log].partitions
        node = int(leaders[(number & 0x7FFFFFFF) % len(leaders)].leader)
    return node
