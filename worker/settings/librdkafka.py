"""Which properties of librdkafka may be passed through, for which clients, and with which values.

An allow-list, since among the others are some that run code (`plugin.library.paths`,
`sasl.kerberos.kinit.cmd`), weaken what is promised (`enable.auto.commit`) or switch checks off
(`enable.ssl.certificate.verification`). Names and ranges are those of librdkafka's
CONFIGURATION.md, version 2.16.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Client = Literal["consumer", "producer"]


@dataclass(frozen=True, slots=True)
class _Whole:
    """A whole number within bounds."""

    low: int
    high: int

    def takes(self, value: object) -> bool:
        return type(value) is int and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"a whole number from {self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class _Switch:
    """True or false."""

    def takes(self, value: object) -> bool:
        return type(value) is bool

    def __str__(self) -> str:
        return "true or false"


@dataclass(frozen=True, slots=True)
class _OneOf:
    """One of some words."""

    words: tuple[str, ...]

    def takes(self, value: object) -> bool:
        return value in self.words

    def __str__(self) -> str:
        return " or ".join(self.words)


@dataclass(frozen=True, slots=True)
class _Text:
    """Any text."""

    def takes(self, value: object) -> bool:
        return type(value) is str and bool(value)

    def __str__(self) -> str:
        return "a text"


@dataclass(frozen=True, slots=True)
class _Suites:
    """Names of cipher suites; words such as ALL or @SECLEVEL=0 would let in any."""

    def takes(self, value: object) -> bool:
        return type(value) is str and all(map(_SUITE.fullmatch, value.split(":")))

    def __str__(self) -> str:
        return (
            "names of suites that encrypt and prove who the broker is, such as "
            "ECDHE-RSA-AES256-GCM-SHA384, with colons between them"
        )


_SUITE: Final = re.compile(r"(?!ADH-|AECDH-|(?:[A-Z0-9]+-)*NULL-)[A-Z0-9]+(?:-[A-Z0-9]+)+")

_Kind = _Whole | _Switch | _OneOf | _Text | _Suites

_ALL: Final[dict[str, _Kind]] = {
    "broker.address.family": _OneOf(("any", "v4", "v6")),
    "broker.address.ttl": _Whole(0, 86_400_000),
    "client.dns.lookup": _OneOf(("use_all_dns_ips", "resolve_canonical_bootstrap_servers_only")),
    "client.rack": _Text(),
    "connections.max.idle.ms": _Whole(0, 2_147_483_647),
    "max.in.flight.requests.per.connection": _Whole(1, 5),  # more would break idempotence
    "message.copy.max.bytes": _Whole(0, 1_000_000_000),
    "metadata.max.age.ms": _Whole(1, 86_400_000),
    "metadata.recovery.rebootstrap.trigger.ms": _Whole(0, 2_147_483_647),
    "metadata.recovery.strategy": _OneOf(("none", "rebootstrap")),
    "receive.message.max.bytes": _Whole(1_000_512, 2_147_483_647),  # the least of `fetch_max` + 512
    "reconnect.backoff.max.ms": _Whole(0, 3_600_000),
    "reconnect.backoff.ms": _Whole(0, 3_600_000),
    "retry.backoff.max.ms": _Whole(1, 300_000),
    "socket.max.fails": _Whole(0, 1_000_000),
    "socket.nagle.disable": _Switch(),
    "socket.receive.buffer.bytes": _Whole(0, 100_000_000),
    "socket.send.buffer.bytes": _Whole(0, 100_000_000),
    "ssl.cipher.suites": _Suites(),
    "ssl.curves.list": _Text(),
    "ssl.sigalgs.list": _Text(),
    "topic.metadata.propagation.max.ms": _Whole(0, 3_600_000),
    "topic.metadata.refresh.fast.interval.ms": _Whole(1, 60_000),
}

_CONSUMER: Final[dict[str, _Kind]] = {
    "check.crcs": _Switch(),
    "coordinator.query.interval.ms": _Whole(1, 3_600_000),
    "fetch.error.backoff.ms": _Whole(0, 300_000),
    "fetch.message.max.bytes": _Whole(1, 1_000_000_000),
    "fetch.queue.backoff.ms": _Whole(0, 300_000),
    "max.poll.interval.ms": _Whole(1, 86_400_000),
    "queued.max.messages.kbytes": _Whole(1, 2_097_151),
    "queued.min.messages": _Whole(1, 10_000_000),
}

_PRODUCER: Final[dict[str, _Kind]] = {
    "queue.buffering.backpressure.threshold": _Whole(1, 1_000_000),
    "queue.buffering.max.kbytes": _Whole(1, 2_147_483_647),
    "queue.buffering.max.messages": _Whole(1, 2_147_483_647),
    "sticky.partitioning.linger.ms": _Whole(0, 900_000),
}

ALLOWED: Final = {**_ALL, **_CONSUMER, **_PRODUCER}
"""Every property that may be passed through, with its legal values."""

OWN_KEYS: Final = {
    "bootstrap.servers": "brokers",
    "metadata.broker.list": "brokers",
    "client.id": "client_id",
    "security.protocol": "security.protocol",
    "sasl.mechanism": "security.mechanism",
    "sasl.mechanisms": "security.mechanism",
    "sasl.username": "security.username",
    "sasl.password": "security.password",
    "ssl.ca.location": "security.ca",
    "ssl.certificate.location": "security.certificate",
    "ssl.key.location": "security.key",
    "ssl.key.password": "security.key_password",
    "enable.ssl.certificate.verification": "security.skip_verify",
    "socket.connection.setup.timeout.ms": "network.dial_timeout",
    "socket.timeout.ms": "network.read_timeout and write_timeout",
    "request.timeout.ms": "network.request_timeout",
    "socket.keepalive.enable": "network.keep_alive",
    "topic.metadata.refresh.interval.ms": "metadata.refresh",
    "topic.metadata.refresh.sparse": "metadata.full",
    "acks": "producer.acks",
    "request.required.acks": "producer.acks",
    "enable.idempotence": "producer.idempotent",
    "compression.type": "producer.compression",
    "compression.codec": "producer.compression",
    "compression.level": "producer.compression_level",
    "linger.ms": "producer.linger",
    "queue.buffering.max.ms": "producer.linger",
    "batch.num.messages": "producer.batch_messages",
    "message.max.bytes": "producer.max_message_bytes",
    "retries": "producer.retries",
    "message.send.max.retries": "producer.retries",
    "retry.backoff.ms": "producer.retry_backoff",
    "delivery.timeout.ms": "producer.delivery_timeout",
    "message.timeout.ms": "producer.delivery_timeout",
    "partitioner": "producer.partitioner",
    "isolation.level": "consumer.isolation",
    "auto.offset.reset": "consumer.offsets",
    "fetch.wait.max.ms": "consumer.max_wait",
    "fetch.min.bytes": "consumer.fetch_min",
    "fetch.max.bytes": "consumer.fetch_max",
    "group.protocol": "group.protocol",
    "partition.assignment.strategy": "group.rebalance",
    "group.remote.assignor": "group.rebalance",
    "session.timeout.ms": "group.session_timeout",
    "heartbeat.interval.ms": "group.heartbeat",
    "group.instance.id": "group.instance",
}
"""Properties that have a key of ours."""


def refusal(name: str, value: object) -> str | None:
    """Why a property may not be passed through, or not with this value; None when it may."""
    if name in OWN_KEYS:
        return f"{name} is set by `kafka.{OWN_KEYS[name]}`"
    kind = ALLOWED.get(name)
    if kind is None:
        near = difflib.get_close_matches(name, ALLOWED, 1)
        hint = f"did you mean {near[0]}?" if near else "legal are " + ", ".join(sorted(ALLOWED))
        return f"{name} may not be passed through; {hint}"
    return None if kind.takes(value) else f"{name} is not legal; legal is {kind}"


def shared(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the properties that are for every client."""
    return {name: value for name, value in properties.items() if name in _ALL}


def passed(properties: Mapping[str, Any], client: Client) -> dict[str, Any]:
    """Those of the properties that are for this kind of client only."""
    own = _CONSUMER if client == "consumer" else _PRODUCER
    return {name: value for name, value in properties.items() if name in own}


def key_of(text: str) -> tuple[str, ...]:
    """The path below `kafka` of the key that a complaint of the client is about; else empty."""
    named = sorted((name for name in (*OWN_KEYS, *ALLOWED) if name in text), key=len)
    if not named:
        return ()
    if named[-1] in ALLOWED:
        return "librdkafka", named[-1]
    return tuple(OWN_KEYS[named[-1]].split(" ", maxsplit=1)[0].split("."))
