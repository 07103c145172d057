"""Names of attributes: OpenTelemetry's conventions for messaging, and older names beside them.

The current names are those of version 1.45. Back ends still look for the older ones, so both are
written unless `OTEL_SEMCONV_STABILITY_OPT_IN` holds `messaging`; `messaging/dup` asks for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

Value = str | int | bool
Attributes = dict[str, Value]

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.45.0"

SYSTEM: Final = "messaging.system.name"
OPERATION: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
PARTITION: Final = "messaging.destination.partition.id"
GROUP: Final = "messaging.consumer.group.name"
CLIENT: Final = "messaging.client.id"
MESSAGES: Final = "messaging.batch.message_count"
OFFSET: Final = "kafka.offset"
TOMBSTONE: Final = "kafka.message.tombstone"
SERVER: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR: Final = "error.type"

PIPELINE: Final = "worker.pipeline"
HANDLER: Final = "worker.handler"
REASON: Final = "worker.reason"
"""Of a failure, as `dlq.reason` says it."""

OLDER: Final[Mapping[str, tuple[str, ...]]] = {
    SYSTEM: ("messaging.system",),
    OPERATION: ("messaging.operation",),
    PARTITION: ("messaging.kafka.destination.partition",),
    GROUP: ("messaging.kafka.consumer.group",),
    OFFSET: ("messaging.kafka.offset", "messaging.kafka.message.offset"),
    TOMBSTONE: ("messaging.kafka.message.tombstone",),
}

OPERATION_TYPES: Final = {
    "process": "process",
    "send": "send",
    "poll": "receive",
    "commit": "settle",
}


def wants_older(opt_in: str) -> bool:
    """Whether older names are written, by `OTEL_SEMCONV_STABILITY_OPT_IN`."""
    wanted = {name.strip() for name in opt_in.split(",")}
    return "messaging" not in wanted or "messaging/dup" in wanted


def with_older(attributes: Attributes) -> Attributes:
    """The attributes with those beside them that have older names."""
    older = ((old, value) for name, value in attributes.items() for old in OLDER.get(name, ()))
    return {**attributes, **dict(older)}
