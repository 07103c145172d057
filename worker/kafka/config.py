"""Settings to librdkafka properties."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from worker.settings import KafkaSettings, Pipeline, Security

Properties = dict[str, Any]

SOCKET_TIMEOUT_MS: Final = 10_000
DELIVERY_TIMEOUT_MS: Final = 120_000
"""A record that is not acknowledged for so long makes its pipeline read again, which duplicates what
was acknowledged beyond it: long enough for a broker to restart, short enough to be noticed."""
FETCH_QUEUE_KIB: Final = 16 * 1024
"""librdkafka's own default of 64 MiB for each consumer is too much for a process of many."""
SEND_QUEUE_KIB: Final = 64 * 1024
SEND_QUEUE_MESSAGES: Final = 100_000
BATCH_BYTES: Final = 1_000_000
"""librdkafka's default `batch.size`, which is within the brokers' default limit."""
DEFAULT_MESSAGE_BYTES: Final = 1_048_588
"""Kafka's default of a topic's `max.message.bytes`."""

_SECRET = re.compile(r"password|secret|token|\.key$|pem|jaas|sasl\.username", re.IGNORECASE)


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
        "session.timeout.ms": _ms(kafka.group.session_timeout),
        "heartbeat.interval.ms": _ms(kafka.group.heartbeat),
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
    return {
        **common(kafka),
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "compression.type": kafka.producer.compression,
        "linger.ms": kafka.producer.linger * 1000,
        "batch.size": min(BATCH_BYTES, smallest),
        "message.max.bytes": max(1_000, min(1_000_000_000, largest)),
        "delivery.timeout.ms": DELIVERY_TIMEOUT_MS,
        "queue.buffering.max.messages": SEND_QUEUE_MESSAGES,
        "queue.buffering.max.kbytes": SEND_QUEUE_KIB,
    }


def redacted(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties as they may be shown."""
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


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
