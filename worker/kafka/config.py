"""Settings to librdkafka properties."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from worker.settings import KafkaSettings, Pipeline, Security

Properties = dict[str, Any]

SOCKET_TIMEOUT_MS: Final = 10_000
"""A request that is not answered for so long is sent again."""
DELIVERY_TIMEOUT_MS: Final = 30_000
"""A record that is not acknowledged for so long has failed, and its pipeline reads again from the
committable offset, which duplicates what was acknowledged beyond it. So it must outlast what passes
by itself, a new leader or a broker that restarts; but until it is over nobody learns that nothing
is delivered, and a drain cannot wait for longer anyway."""
FETCH_QUEUE_KIB: Final = 16 * 1024
"""librdkafka's own default of 64 MiB for each consumer is too much for a process of many."""
SEND_QUEUE_KIB: Final = 64 * 1024
"""librdkafka's own default is 1 GiB."""
SEND_QUEUE_MESSAGES: Final = 100_000
BATCH_BYTES: Final = 1_000_000
"""librdkafka's default `batch.size`, which is within the brokers' default limit."""
MESSAGE_BYTES: Final = (1_000, 1_000_000_000)
"""What librdkafka takes for `message.max.bytes`."""
DEFAULT_MESSAGE_BYTES: Final = 1_048_588
"""Kafka's default of a topic's `max.message.bytes`."""

_SECRET: Final = re.compile(
    r"password|secret|token|credential|\.key$|pem|jaas|sasl\.username", re.IGNORECASE
)


def common(kafka: KafkaSettings) -> Properties:
    """What every client of a cluster is configured with."""
    return {
        "bootstrap.servers": ",".join(kafka.brokers),
        "client.id": kafka.client_id,
        "socket.timeout.ms": SOCKET_TIMEOUT_MS,
        "socket.keepalive.enable": True,
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 2_000,
        "log.connection.close": False,
        "statistics.interval.ms": 1_000,
        "enable.metrics.push": False,
        **_security(kafka.security),
    }


def consumer(kafka: KafkaSettings, group: str, pipeline: Pipeline) -> Properties:
    """What the consumer of a pipeline is configured with."""
    properties = {
        **common(kafka),
        "group.id": group,
        "group.protocol": "classic",
        "session.timeout.ms": _milliseconds(kafka.group.session_timeout),
        "heartbeat.interval.ms": _milliseconds(kafka.group.heartbeat),
        "partition.assignment.strategy": "cooperative-sticky",
        "isolation.level": pipeline.isolation,
        "auto.offset.reset": "error",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": False,
        "allow.auto.create.topics": False,
        "fetch.queue.backoff.ms": 10,
        "queued.min.messages": 20_000,
        "queued.max.messages.kbytes": FETCH_QUEUE_KIB,
    }
    if pipeline.instance is not None:
        properties["group.instance.id"] = f"{group}.{pipeline.instance}.0"
    return properties


def producer(kafka: KafkaSettings, limits: Mapping[str, int]) -> Properties:
    """What the producer of a pipeline is configured with.

    `limits` has the `max.message.bytes` of its topics. The broker refuses a batch as a whole and
    names no record, so no batch may grow beyond the smallest limit.
    """
    smallest = min(limits.values(), default=DEFAULT_MESSAGE_BYTES)
    largest = max(limits.values(), default=DEFAULT_MESSAGE_BYTES)
    least, most = MESSAGE_BYTES
    return {
        **common(kafka),
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "compression.type": kafka.producer.compression,
        "linger.ms": kafka.producer.linger * 1000,
        "batch.size": max(1, min(BATCH_BYTES, smallest)),
        "message.max.bytes": max(least, min(most, largest)),
        "delivery.timeout.ms": DELIVERY_TIMEOUT_MS,
        "queue.buffering.max.messages": SEND_QUEUE_MESSAGES,
        "queue.buffering.max.kbytes": SEND_QUEUE_KIB,
    }


def redacted(properties: Mapping[str, Any]) -> Properties:
    """The properties as they may be shown: no secrets, no callbacks."""
    return {
        name: "***" if _SECRET.search(name) else value
        for name, value in properties.items()
        if not callable(value)
    }


def _security(security: Security) -> Properties:
    properties = {
        "security.protocol": security.protocol,
        "sasl.mechanism": security.mechanism,
        "sasl.username": security.username,
        "sasl.password": security.password and security.password.get_secret_value(),
        "ssl.ca.location": security.ca,
        "ssl.certificate.location": security.certificate,
        "ssl.key.location": security.key,
        "ssl.key.password": security.key_password and security.key_password.get_secret_value(),
    }
    return {name: value for name, value in properties.items() if value is not None}


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
