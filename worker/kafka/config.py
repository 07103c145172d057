"""Settings to librdkafka properties."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from confluent_kafka import libversion
from pydantic import SecretStr

from worker.settings import GroupSettings, KafkaSettings, OAuth, Pipeline, Security
from worker.settings.kafka import RECONNECT_BACKOFF_MS
from worker.settings.librdkafka import passed, shared
from worker.settings.patterns import INTERNAL, is_pattern
from worker.settings.values import LOOPBACK

Properties = dict[str, Any]

FETCH_QUEUE_KIB: Final = 16 * 1024
"""librdkafka's own default of 64 MiB for each consumer is too much for a process of many."""
SEND_QUEUE_KIB: Final = 64 * 1024
"""librdkafka's own default is 1 GiB."""
PARTITION_FETCH_BYTES: Final = 1024**2
"""librdkafka's default of `fetch.message.max.bytes`: what is asked of one partition at a time."""
SEND_QUEUE_MESSAGES: Final = 100_000
BATCH_BYTES: Final = 1_000_000
"""librdkafka's default `batch.size`, which is within the brokers' default limit."""
TRANSACTIONAL_IDLE_MS: Final = 30_000
"""How long a producer of transactions keeps a connection that it does not use. Where it waits for a
coordinator it looks for it when a connection comes or goes, and never else: librdkafka's 5456."""
MESSAGE_BYTES: Final = (1_000, 1_000_000_000)
"""What librdkafka takes for `message.max.bytes`."""
DEFAULT_MESSAGE_BYTES: Final = 1_048_588
"""Kafka's default of a topic's `max.message.bytes`."""

ACKS: Final = {"none": "0", "local": "1", "all": "all"}
ASSIGNORS: Final = {"sticky": "cooperative-sticky", "range": "range", "roundrobin": "roundrobin"}
REMOTE_ASSIGNORS: Final = {"sticky": "uniform", "range": "range"}
"""The brokers' own, of the protocol `consumer` (KIP-848)."""


def common(kafka: KafkaSettings) -> Properties:
    """What every client of a cluster is configured with."""
    network, metadata = kafka.network, kafka.metadata
    return {
        "bootstrap.servers": ",".join(kafka.brokers),
        "client.id": kafka.client_id,
        "socket.connection.setup.timeout.ms": _milliseconds(network.dial_timeout),
        "socket.timeout.ms": _milliseconds(network.read_timeout),
        "socket.keepalive.enable": network.keep_alive,
        "topic.metadata.refresh.interval.ms": _milliseconds(metadata.refresh),
        "topic.metadata.refresh.sparse": not metadata.full,
        "reconnect.backoff.ms": RECONNECT_BACKOFF_MS[0],
        "reconnect.backoff.max.ms": RECONNECT_BACKOFF_MS[1],
        "log.connection.close": False,
        "statistics.interval.ms": 1_000,
        "enable.metrics.push": False,
        **_security(kafka.security),
        **shared(kafka.librdkafka),
    }


def consumer(kafka: KafkaSettings, group: str, pipeline: Pipeline, process: int = 0) -> Properties:
    """What the consumer of a pipeline is configured with in the process of this index."""
    name = pipeline.instance
    instance = None if name is None else identity(group, name, process)
    properties = member(kafka, group, pipeline.isolation, instance)
    if any(map(is_pattern, pipeline.source)):
        properties["topic.blacklist"] = f"^{INTERNAL}"
    return properties


def member(
    kafka: KafkaSettings, group: str, isolation: str, instance: str | None = None
) -> Properties:
    """What a consumer is configured with, be it in a group or assigned by hand."""
    properties = {
        **common(kafka),
        "group.id": group,
        **_membership(kafka.group),
        "isolation.level": isolation,
        "auto.offset.reset": "error",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": False,
        "allow.auto.create.topics": False,
        "fetch.wait.max.ms": _milliseconds(kafka.consumer.max_wait),
        "fetch.min.bytes": kafka.consumer.fetch_min,
        "fetch.max.bytes": kafka.consumer.fetch_max,
        "fetch.message.max.bytes": min(PARTITION_FETCH_BYTES, kafka.consumer.fetch_max),
        "fetch.queue.backoff.ms": 10,
        "queued.min.messages": 20_000,
        "queued.max.messages.kbytes": FETCH_QUEUE_KIB,
        **passed(kafka.librdkafka, "consumer"),
    }
    if instance is not None:
        properties["group.instance.id"] = instance
    return properties


def producer(kafka: KafkaSettings, limits: Mapping[str, int]) -> Properties:
    """What a producer is configured with.

    `limits` has the `max.message.bytes` of its topics. The broker refuses a batch as a whole and
    names no record, so no batch may grow beyond the smallest limit.
    """
    sending = kafka.producer
    smallest = min(limits.values(), default=DEFAULT_MESSAGE_BYTES)
    largest = max(limits.values(), default=sending.max_message_bytes or DEFAULT_MESSAGE_BYTES)
    least, most = MESSAGE_BYTES
    properties = {
        **common(kafka),
        "acks": ACKS[sending.acks],
        "enable.idempotence": sending.idempotent,
        "partitioner": sending.partitioner,
        "compression.type": sending.compression,
        "linger.ms": sending.linger * 1000,
        "batch.num.messages": sending.batch_messages,
        "batch.size": max(1, min(BATCH_BYTES, smallest)),
        "message.max.bytes": max(least, min(most, largest)),
        "request.timeout.ms": _milliseconds(kafka.network.request_timeout),
        "retry.backoff.ms": _milliseconds(sending.retry_backoff),
        "delivery.timeout.ms": _milliseconds(sending.delivery_timeout),
        "queue.buffering.max.messages": SEND_QUEUE_MESSAGES,
        "queue.buffering.max.kbytes": SEND_QUEUE_KIB,
        **passed(kafka.librdkafka, "producer"),
    }
    if sending.compression_level is not None:
        properties["compression.level"] = sending.compression_level
    if sending.retries is not None:
        properties["retries"] = sending.retries
    return properties


def transactional(
    kafka: KafkaSettings, limits: Mapping[str, int], transactional_id: str, timeout: float
) -> Properties:
    """What a producer of transactions is configured with, as `producer`.

    The cluster aborts a transaction that is open for `timeout` seconds. A record fails in half of
    that, so that there is time left to end the transaction that it belongs to.
    """
    properties = {"connections.max.idle.ms": TRANSACTIONAL_IDLE_MS, **producer(kafka, limits)}
    patience = _milliseconds(timeout)
    properties |= {
        "acks": "all",
        "enable.idempotence": True,
        "transactional.id": transactional_id,
        "transaction.timeout.ms": patience,
        "delivery.timeout.ms": min(properties["delivery.timeout.ms"], patience // 2),
        "socket.timeout.ms": min(properties["socket.timeout.ms"], patience),
    }
    properties.pop("retries", None)
    return properties


def alone(properties: Properties) -> Properties:
    """Those of a producer that sends each record in a batch of its own."""
    return {**properties, "batch.num.messages": 1, "linger.ms": 0}


def identity(group: str, instance: str, process: int) -> str:
    """Who a process of this index is, to its group and with `transactional.id` to the cluster."""
    return f"{group}.{instance}.{process}"


def warnings(kafka: KafkaSettings) -> list[str]:
    """What an operator should know at each start: checks that are off, bytes anybody can read."""
    found = []
    if kafka.security.skip_verify:
        found.append(
            "kafka.security.skip_verify is on: whoever answers is taken for a broker and is given "
            "the password and the records; give the brokers' `ca` instead"
        )
    away = [broker for broker in kafka.brokers if not LOOPBACK.fullmatch(broker)]
    if away and not kafka.security.protocol.endswith("SSL"):
        found.append(
            f"records go unencrypted to {', '.join(away)}; use kafka.security.protocol SSL or "
            "SASL_SSL where others can listen"
        )
    return found


def _membership(group: GroupSettings) -> Properties:
    """With the protocol `consumer` the broker decides on sessions; the client refuses to."""
    if group.protocol == "consumer":
        return {
            "group.protocol": "consumer",
            "group.remote.assignor": REMOTE_ASSIGNORS[group.rebalance],
        }
    return {
        "group.protocol": "classic",
        "session.timeout.ms": _milliseconds(group.session_timeout),
        "heartbeat.interval.ms": _milliseconds(group.heartbeat),
        "partition.assignment.strategy": ASSIGNORS[group.rebalance],
    }


def _security(security: Security) -> Properties:
    properties = {
        "security.protocol": security.protocol,
        "sasl.mechanism": security.mechanism,
        "sasl.username": security.username,
        "sasl.password": _revealed(security.password),
        "ssl.ca.location": security.ca,
        "ssl.certificate.location": security.certificate,
        "ssl.key.location": security.key,
        "ssl.key.password": _revealed(security.key_password),
        "enable.ssl.certificate.verification": False if security.skip_verify else None,
        **({} if security.oauth is None else _oauth(security.oauth)),
    }
    return {name: value for name, value in properties.items() if value is not None}


def _oauth(oauth: OAuth) -> Properties:
    return {
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": oauth.endpoint,
        "sasl.oauthbearer.client.id": oauth.client_id,
        "sasl.oauthbearer.client.secret": _revealed(oauth.client_secret),
        "sasl.oauthbearer.scope": oauth.scope,
        "https.ca.location": oauth.ca,
    }


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def client_versions() -> dict[str, str]:
    """Which client this is, and which librdkafka it brings."""
    return {"confluent-kafka": version("confluent-kafka"), "librdkafka": libversion()[0]}
