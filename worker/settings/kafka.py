"""The cluster and how its clients behave: the part `kafka` of a spec, and all of a client's."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from worker.settings.librdkafka import refusal
from worker.settings.values import NAME, Brokers, Duration, ItemProblems, Model, Size
from worker.types import Isolation

Property = str | int | float | bool

LONGEST: Final = 2_147_483
"""Seconds of librdkafka's longest time-outs, a whole number of milliseconds in 32 bits."""
RECONNECT_BACKOFF_MS: Final = (100, 2_000)
"""Milliseconds before a broker is connected to again: at first, and at most."""

_ENDPOINT: Final = r"(https://[^/@\s]+|http://(localhost|127\.\d+\.\d+\.\d+)(:\d+)?)(/\S*)?"


class OAuth(Model):
    """Where tokens for OAUTHBEARER come from: an OpenID Connect server, asked with a secret."""

    endpoint: str = Field(description="Address that gives tokens; https, or http on this machine.")
    client_id: str = Field(min_length=1, description="Who asks for the token.")
    client_secret: SecretStr = Field(min_length=1, description="The client's secret; never shown.")
    scope: str | None = Field(None, description="Scope to ask for.")
    ca: str | None = Field(
        None,
        min_length=1,
        description="File with the certificates (PEM) to trust at the endpoint.",
    )

    @model_validator(mode="after")
    def _is_private(self) -> Self:
        if not re.fullmatch(_ENDPOINT, self.endpoint):
            raise ValueError(
                "endpoint must begin with https://, or be on this machine, and name no user"
            )
        return self


class Security(Model):
    """How the worker proves who it is, and who the brokers are."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Protocol to the brokers."
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = Field(
        None, description="SASL mechanism, with the SASL protocols."
    )
    username: str | None = Field(None, min_length=1, description="SASL user.")
    password: SecretStr | None = Field(
        None,
        min_length=1,
        description="SASL password; never shown. Best as `${file:/run/secrets/...}`.",
    )
    oauth: OAuth | None = Field(
        None, description="Where the tokens come from, with the mechanism OAUTHBEARER."
    )
    ca: str | None = Field(
        None, min_length=1, description="File with the certificates (PEM) to trust."
    )
    certificate: str | None = Field(
        None, min_length=1, description="File with the client's certificate (PEM)."
    )
    key: str | None = Field(
        None, min_length=1, description="File with the client's private key (PEM)."
    )
    key_password: SecretStr | None = Field(None, description="Password of the key; never shown.")
    skip_verify: bool = Field(
        False,
        description="Talk to brokers without checking who they are; warned of at each start.",
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        problem = self._wrong_sasl() or self._wrong_tls()
        if problem is not None:
            raise ValueError(problem)
        return self

    def _wrong_sasl(self) -> str | None:
        user = [self.username, self.password]
        if not self.protocol.startswith("SASL"):
            if any(value is not None for value in [self.mechanism, *user, self.oauth]):
                return (
                    "mechanism, username, password and oauth need the protocol SASL_SSL or "
                    f"SASL_PLAINTEXT, not {self.protocol}"
                )
            return None
        if self.mechanism == "OAUTHBEARER":
            given = any(value is not None for value in user)
            return "OAUTHBEARER takes oauth, not username and password" if given else None
        if self.oauth is not None:
            return "oauth needs the mechanism OAUTHBEARER"
        missing = None in [self.mechanism, *user]
        return f"{self.protocol} needs mechanism, username and password" if missing else None

    def _wrong_tls(self) -> str | None:
        files = [self.ca, self.certificate, self.key, self.key_password]
        if not self.protocol.endswith("SSL") and any([*files, self.skip_verify]):
            return (
                "ca, certificate, key, key_password and skip_verify need the protocol SSL or "
                f"SASL_SSL, not {self.protocol}"
            )
        if (self.certificate is None) != (self.key is None):
            return "certificate and key go together"
        return None


class NetworkSettings(Model):
    """Connections to the brokers and the answers expected on them."""

    dial_timeout: Duration = Field(
        30.0,
        ge=1,
        le=LONGEST,
        description="How long it may take to connect, TLS and SASL included.",
    )
    read_timeout: Duration = Field(
        10.0,
        ge=0.01,
        le=300,
        description="How long an answer may take before it is asked for again; as long as "
        "`write_timeout`, since librdkafka has one time-out for both.",
    )
    write_timeout: Duration = Field(
        10.0, ge=0.01, le=300, description="How long sending may take; as long as `read_timeout`."
    )
    request_timeout: Duration = Field(
        10.0,
        ge=0.001,
        le=900,
        description="How long a whole operation of the client may take, and how long a broker may "
        "wait for its replicas.",
    )
    keep_alive: bool = Field(True, description="Whether TCP keeps idle connections alive.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.read_timeout != self.write_timeout:
            raise ValueError(
                "read_timeout and write_timeout must be equal: librdkafka has one time-out for both"
            )
        return self


class MetadataSettings(Model):
    """What the clients know of the cluster."""

    retries: int = Field(
        3,
        ge=0,
        le=1000,
        description="Further attempts of the client at its first contact.",
    )
    retry_backoff: Duration = Field(0.25, description="Time between two of these attempts.")
    refresh: Duration = Field(
        30.0, ge=0.01, le=3600, description="Time after which what is known is asked for again."
    )
    full: bool = Field(
        False, description="Ask for all topics of the cluster, not only for those that are used."
    )


class ProducerSettings(Model):
    """How records are sent; pipelines are always idempotent, with acks from all replicas."""

    enabled: bool = Field(True, description="Whether the client may send; pipelines must.")
    acks: Literal["none", "local", "all"] = Field(
        "all",
        description="Who has a record when it counts as sent: nobody, the leader, or all in-sync "
        "replicas; pipelines need `all`.",
    )
    idempotent: bool = Field(
        True,
        description="When the client sends again nothing is there twice or out of order, but where "
        "records time out or a leader changes meanwhile; needs acks `all`, and pipelines need it.",
    )
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        "none", description="Codec of the batches."
    )
    compression_level: int | None = Field(
        None, description="Level of the codec: gzip 0 to 9, lz4 0 to 12, zstd 1 to 12."
    )
    linger: Duration = Field(
        0.005, le=900, description="How long a batch waits to fill before it is sent."
    )
    batch_messages: int = Field(
        10_000, ge=1, le=1_000_000, description="Send a batch as soon as it has so many records."
    )
    max_message_bytes: Size | None = Field(
        None,
        ge=1000,
        le=1_000_000_000,
        description="Largest record; in pipelines what its topic takes, in the client 1 MiB.",
    )
    retries: int | None = Field(
        None,
        ge=0,
        le=2_147_483_647,
        description="How often a record is sent again; by default until `delivery_timeout`.",
    )
    retry_backoff: Duration = Field(
        0.1, ge=0.001, le=300, description="Time before a request is sent again; it grows."
    )
    delivery_timeout: Duration = Field(
        30.0,
        ge=0.1,
        le=LONGEST,
        description="A record that is not acknowledged for so long has failed; longer than "
        "`linger`.",
    )
    partitioner: Literal[
        "murmur2_random",
        "murmur2",
        "consistent_random",
        "consistent",
        "fnv1a_random",
        "fnv1a",
        "random",
    ] = Field(
        "murmur2_random",
        description="How a key chooses its partition: `murmur2_random` as Java's clients do.",
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.idempotent and self.acks != "all":
            raise ValueError(f"idempotent needs acks all, not {self.acks}; or set it to false")
        if self.idempotent and self.retries == 0:
            raise ValueError("idempotent needs retries; or set it to false")
        if self.linger >= self.delivery_timeout:
            raise ValueError("linger must be shorter than delivery_timeout")
        self._check_level()
        return self

    def _check_level(self) -> None:
        if self.compression_level is None:
            return
        levels = {"gzip": (0, 9), "lz4": (0, 12), "zstd": (1, 12)}.get(self.compression)
        if levels is None:
            raise ValueError(f"compression {self.compression} has no levels")
        low, high = levels
        if not low <= self.compression_level <= high:
            raise ValueError(
                f"compression_level {self.compression_level} is not legal; "
                f"{self.compression} takes {low} to {high}"
            )


class ConsumerSettings(Model):
    """How records are read."""

    enabled: bool = Field(True, description="Whether the client may read; pipelines must.")
    offsets: Literal["newest", "oldest"] = Field(
        "newest",
        description="Where the client starts without a committed offset; pipelines have `start`, "
        "which is `oldest` by default.",
    )
    isolation: Isolation = Field(
        "read_committed",
        description="Whether the client reads records of open or aborted transactions; pipelines "
        "have an `isolation` of their own.",
    )
    max_wait: Duration = Field(
        0.25, le=300, description="How long a broker may wait for `fetch_min` before it answers."
    )
    fetch_min: Size = Field(1, ge=1, le=100_000_000, description="A broker waits for so much.")
    fetch_max: Size = Field(
        16 * 1024**2,
        ge=1_000_000,
        le=2_000_000_000,
        description="A broker answers with no more, but for a single larger record.",
    )


_BROKERS_OWN: Final = {
    "session_timeout": "group.consumer.session.timeout.ms",
    "heartbeat": "group.consumer.heartbeat.interval.ms",
}
"""Keys of a group about which its broker decides in KIP-848."""


class GroupSettings(Model):
    """Membership in the consumer groups."""

    protocol: Literal["classic", "consumer"] = Field(
        "classic",
        description="Who assigns partitions: a member, or the broker (`consumer`, KIP-848: "
        "Kafka 4.0 or later).",
    )
    rebalance: Literal["sticky", "range", "roundrobin"] = Field(
        "sticky",
        description="How partitions are assigned; only `sticky` (cooperative-sticky) leaves those "
        "running that do not move. With the protocol `consumer`: `sticky` or `range`.",
    )
    session_timeout: Duration = Field(
        10.0,
        ge=0.002,
        le=3600,
        description="A member that was not heard of for so long is taken for dead; not with the "
        "protocol `consumer`, where the broker decides.",
    )
    heartbeat: Duration = Field(
        3.0, ge=0.001, le=1800, description="Time between two signs of life; likewise."
    )
    instance: str | None = Field(
        None,
        pattern=NAME,
        description="Name of the client in its group, for static membership; pipelines have an "
        "`instance` of their own.",
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.heartbeat * 2 > self.session_timeout:
            raise ValueError("heartbeat must be at most half of session_timeout")
        if self.protocol == "consumer":
            self._check_what_the_broker_decides()
        return self

    def _check_what_the_broker_decides(self) -> None:
        problems = {
            key: f"is not legal with the protocol consumer: the broker's {name} counts"
            for key, name in _BROKERS_OWN.items()
            if key in self.model_fields_set
        }
        if self.rebalance == "roundrobin":
            problems["rebalance"] = (
                "'roundrobin' is not legal with the protocol consumer; legal is sticky or range"
            )
        if problems:
            raise ItemProblems(problems)


def _allowed(properties: dict[str, Property]) -> dict[str, Property]:
    problems = {
        name: problem for name, value in properties.items() if (problem := refusal(name, value))
    }
    if problems:
        raise ItemProblems(problems)
    return properties


class KafkaSettings(Model):
    """The cluster and how to talk to it."""

    brokers: Brokers = Field(description="Addresses as host:port, with commas or as a list.")
    client_id: str = Field("stream-worker", description="Name that the brokers log.")
    security: Security = Field(Security(), description="Authentication and encryption.")
    network: NetworkSettings = Field(NetworkSettings(), description="Connections and time-outs.")
    metadata: MetadataSettings = Field(MetadataSettings(), description="Knowledge of the cluster.")
    producer: ProducerSettings = Field(ProducerSettings(), description="Sending.")
    consumer: ConsumerSettings = Field(ConsumerSettings(), description="Reading.")
    group: GroupSettings = Field(GroupSettings(), description="Consumer group membership.")
    librdkafka: Annotated[dict[str, Property], AfterValidator(_allowed)] = Field(
        {},
        description="Further properties of librdkafka; which ones are legal an error lists.",
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.consumer.max_wait + 1 > self.network.read_timeout:
            raise ValueError(
                "network.read_timeout must be at least a second longer than consumer.max_wait"
            )
        problem = self._wrong_polls() or self._wrong_properties()
        if problem is not None:
            raise ValueError(problem)
        return self

    def _wrong_polls(self) -> str | None:
        longest = self.may_be_silent
        if self.group.protocol == "classic" and self.group.session_timeout > longest:
            problem = "group.session_timeout must be at most max.poll.interval.ms"
            return f"{problem}, {longest * 1000:.0f}"
        return None

    @property
    def may_be_silent(self) -> float:
        """Seconds between two polls after which a group takes a member for dead."""
        return float(self.librdkafka.get("max.poll.interval.ms", 300_000)) / 1000

    def _wrong_properties(self) -> str | None:
        """Properties that each are legal, and with which librdkafka makes no client."""
        given = self.librdkafka
        low = given.get("reconnect.backoff.ms", RECONNECT_BACKOFF_MS[0])
        high = given.get("reconnect.backoff.max.ms", RECONNECT_BACKOFF_MS[1])
        if float(low) > float(high):
            return f"reconnect.backoff.max.ms, {high}, must be at least reconnect.backoff.ms, {low}"
        largest = given.get("receive.message.max.bytes")
        if largest is not None and float(largest) < self.consumer.fetch_max + 512:
            return "receive.message.max.bytes must be at least consumer.fetch_max and 512 bytes"
        if self.producer.idempotent and given.get("queue.buffering.backpressure.threshold", 1) != 1:
            return "queue.buffering.backpressure.threshold must be 1 when producer.idempotent is on"
        return None
