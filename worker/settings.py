"""Every key of the spec, each with its type, unit, default and meaning: the only place for them.

The JSON Schema (`worker schema`) and the reference page (`docs/spec.md`) are made from these
models. Durations are seconds and sizes are bytes once loaded; in the spec they carry a unit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

_DURATION_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE_UNITS = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
_DURATION = r"^\d{1,9}(\.\d{1,9})?(ms|s|m|h|d)$"
_SIZE = r"^\d{1,9}(\.\d{1,9})?\s?(B|kB|KB|MB|GB|KiB|MiB|GiB)$"
_TOPIC = r"^[a-zA-Z0-9._-]{1,249}$"
_BROKER = r"^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5}$"
_NAME = r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}$"

WRITTEN = {"written": True}
"""Context of a validation of what was written: plain numbers, legal in Python, need their unit."""


def _with_unit(value: Any, pattern: str, units: Mapping[str, float], legal: str) -> float:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ValueError(f"{value!r} is not {legal}")
    number, unit = re.match(r"([\d.]+)\s?(\w+)", value).groups()  # type: ignore[union-attr]
    return float(number) * units[unit]


def duration(value: Any, info: ValidationInfo) -> float:
    """Seconds from a text such as `200ms`, `10s`, `5m`, `1h` or `7d`."""
    if isinstance(value, float) and info.context != WRITTEN:
        return value
    return _with_unit(value, _DURATION, _DURATION_UNITS, "a duration such as 200ms, 10s, 5m")


def size(value: Any, info: ValidationInfo) -> int:
    """Bytes from a text such as `512KiB` or `32MiB`."""
    if isinstance(value, float) and info.context != WRITTEN:
        return int(value)
    return int(_with_unit(value, _SIZE, _SIZE_UNITS, "a size such as 512KiB or 32MiB"))


def _topic(value: str) -> str:
    if value.startswith("^"):
        raise ValueError("patterns of topics are not supported yet")
    if not re.match(_TOPIC, value) or value in {".", ".."}:
        raise ValueError(
            f"{value!r} is not a topic name: letters, digits, '.', '_' and '-', 249 at most"
        )
    return value


def _topics(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _brokers(value: Any) -> Any:
    brokers = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(brokers, list) or not brokers:
        raise ValueError("give host:port, several with commas or as a list")
    for broker in brokers:
        if not isinstance(broker, str) or not re.match(_BROKER, broker):
            shown = "an address with a user or a scheme" if "@" in str(broker) else repr(broker)
            raise ValueError(f"{shown} is not host:port")
    return brokers


def _start(value: Any) -> Any:
    if value in ("oldest", "newest") or isinstance(value, datetime):
        return value
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError(
            f"{value!r} is not oldest, newest or a time with its zone such as 2026-01-31T12:00:00Z"
        )
    return time


def _dead_letter(value: Any) -> Any:
    return {"default": value} if isinstance(value, str) else value


Duration = Annotated[
    float,
    BeforeValidator(duration),
    WithJsonSchema({"type": "string", "pattern": _DURATION, "examples": ["200ms", "10s"]}),
]
Size = Annotated[
    int,
    BeforeValidator(size),
    WithJsonSchema({"type": "string", "pattern": _SIZE, "examples": ["32MiB"]}),
]
Topic = Annotated[
    str, AfterValidator(_topic), WithJsonSchema({"type": "string", "pattern": _TOPIC})
]
Topics = Annotated[
    list[Topic],
    Field(min_length=1),
    BeforeValidator(_topics),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": _TOPIC},
                {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": _TOPIC}},
            ]
        }
    ),
]
SerdeName = Literal["json", "string", "bytes"]
Brokers = Annotated[
    list[str],
    BeforeValidator(_brokers),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "minItems": 1, "items": {"type": "string"}},
            ]
        }
    ),
]
StartPlace = Annotated[
    Literal["oldest", "newest"] | datetime,
    BeforeValidator(_start),
    WithJsonSchema({"type": "string", "examples": ["oldest", "newest", "2026-01-31T12:00:00Z"]}),
]


class Model(BaseModel):
    """A part of the spec: unknown keys and near types are errors, and nothing changes later."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_by_name=True)


class Security(Model):
    """How the worker proves who it is, and who the brokers are."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Protocol to the brokers."
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="SASL mechanism, with the SASL protocols."
    )
    username: str | None = Field(None, description="SASL user.")
    password: SecretStr | None = Field(
        None, description="SASL password; never shown. Best as `${file:/run/secrets/...}`."
    )
    ca: str | None = Field(None, description="File with the certificates (PEM) to trust.")
    certificate: str | None = Field(None, description="File with the client's certificate (PEM).")
    key: str | None = Field(None, description="File with the client's private key (PEM).")
    key_password: SecretStr | None = Field(None, description="Password of the key; never shown.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        sasl = self.protocol.startswith("SASL")
        given = [self.mechanism, self.username, self.password]
        if sasl and None in given:
            raise ValueError(f"{self.protocol} needs mechanism, username and password")
        if not sasl and any(value is not None for value in given):
            raise ValueError(
                f"mechanism, username and password need SASL_SSL or SASL_PLAINTEXT, "
                f"not {self.protocol}"
            )
        files = [self.ca, self.certificate, self.key, self.key_password]
        if not self.protocol.endswith("SSL") and any(value is not None for value in files):
            raise ValueError(
                f"ca, certificate, key and key_password need SSL or SASL_SSL, not {self.protocol}"
            )
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self


class ProducerSettings(Model):
    """How records are sent; always idempotent and acknowledged by all in-sync replicas."""

    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        "none", description="Codec of the batches."
    )
    linger: Duration = Field(0.005, description="How long a batch waits to fill before it is sent.")


class GroupSettings(Model):
    """Membership in the consumer groups."""

    session_timeout: Duration = Field(
        10.0, description="A member that was not heard of for so long is taken for dead."
    )
    heartbeat: Duration = Field(3.0, description="Time between two signs of life.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.heartbeat * 2 > self.session_timeout:
            raise ValueError("heartbeat must be at most half of session_timeout")
        return self


class KafkaSettings(Model):
    """The cluster and how to talk to it."""

    brokers: Brokers = Field(description="Addresses as host:port, with commas or as a list.")
    client_id: str = Field("stream-worker", description="Name that the brokers log.")
    security: Security = Field(Security(), description="Authentication and encryption.")
    producer: ProducerSettings = Field(ProducerSettings(), description="Sending.")
    group: GroupSettings = Field(GroupSettings(), description="Consumer group membership.")


class TopicSettings(Model):
    """How `--create-topics` makes a topic that does not exist."""

    partitions: int | None = Field(None, ge=1, description="Partitions; the broker's default.")
    replication: int | None = Field(None, ge=1, description="Replicas; the broker's default.")
    config: dict[str, str | int | bool] = Field(
        {}, description="Topic configuration of Kafka, such as `retention.ms`."
    )


class CommitSettings(Model):
    """When offsets are committed."""

    interval: Duration = Field(1.0, gt=0, description="Longest time between two commits.")
    messages: int = Field(10_000, ge=1, description="Commit as soon as so many are finished.")


class InFlightSettings(Model):
    """How much a pipeline holds in memory between poll and acknowledgement."""

    messages: int = Field(10_000, ge=1, description="Messages at most.")
    bytes: Size = Field(32 * 1024**2, ge=1, description="Payload bytes at most.")


class DeadLetterSettings(Model):
    """Where messages go that cannot be handled."""

    default: Topic = Field(description="The dead-letter topic.")
    message: bool = Field(
        False, description="Write the exception's text to `dlq.message`; it may hold payload."
    )


DeadLetterTarget = Annotated[
    DeadLetterSettings,
    BeforeValidator(_dead_letter, json_schema_input_type=Topic | DeadLetterSettings),
]


class Lifecycle(Model):
    """Keys that a pipeline may set for itself, or the spec for all its pipelines."""

    instance: str | None = Field(
        None,
        pattern=_NAME,
        description="Name of this process, unique in its group, for static membership; "
        "`group.instance.id` is `{group}.{instance}.{process index}`.",
    )
    isolation: Literal["read_committed", "read_uncommitted"] = Field(
        "read_committed", description="Whether records of open or aborted transactions are read."
    )
    drain_timeout: Duration = Field(
        25.0, description="On SIGTERM, how long messages in flight may take to finish."
    )
    revoke_timeout: Duration = Field(
        20.0, description="In a rebalance, how long messages in flight may take to finish."
    )


class Pipeline(Lifecycle):
    """One consumer group, its handler and where results and failures go."""

    group: str | None = Field(
        None,
        min_length=1,
        max_length=249,
        description="Consumer group; `{name}.{pipeline}` when not given. Another name starts anew.",
    )
    source: Topics = Field(alias="from", description="Topic to read, or a list of them.")
    handler: str = Field(description="Name of the handler: that of the decorated function.")
    to: Topic | None = Field(None, description="Topic of results that name none.")
    start: StartPlace = Field(
        "oldest",
        description="Where to start in a partition without a committed offset: `oldest`, `newest` "
        "or a time with its zone.",
    )
    on_offset_lost: Literal["stop", "oldest", "newest"] = Field(
        "stop",
        description="What to do when the committed offset is no longer in the log; "
        "the gap is counted.",
    )
    decode: SerdeName = Field("json", description="Serde of the payload.")
    encode: SerdeName = Field("json", description="Serde of the results.")
    timestamps: Literal["now", "source"] = Field(
        "now", description="Time of the results: now, or that of their message."
    )
    delivery: Literal["at_least_once"] = Field("at_least_once", description="The promise made.")
    ordering: Literal["partition"] = Field(
        "partition", description="What is handled one after the other: the messages of a partition."
    )
    concurrency: int | None = Field(
        None, ge=1, le=1000, description="Handlers in flight; by default one per core."
    )
    batch: int | None = Field(
        None, ge=1, le=100_000, description="Largest batch of a batch handler."
    )
    dead_letter: DeadLetterTarget | None = Field(
        None, description="Dead-letter topic; a text, or a map with `default` and `message`."
    )
    on_error: Literal["stop", "skip"] | None = Field(
        None,
        description="Without `dead_letter`, what to do with a message that cannot be handled: "
        "`stop` (default) the pipeline in front of it, or `skip` it, counted and logged.",
    )
    commit: CommitSettings = Field(CommitSettings(), description="Committing of offsets.")
    in_flight: InFlightSettings = Field(InFlightSettings(), description="Bound of memory.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.dead_letter is not None and self.on_error is not None:
            raise ValueError("dead_letter and on_error exclude each other")
        return self


class Server(Model):
    """The HTTP endpoint."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 switches it off.")


Named = Annotated[str, Field(pattern=_NAME)]


class Spec(Lifecycle):
    """A worker: the cluster, the handlers' modules and the pipelines."""

    version: Literal[1] = Field(description="Version of the spec's format.")
    name: Named = Field(description="Name of the worker; the groups' default prefix.")
    kafka: KafkaSettings = Field(description="The Kafka cluster.")
    handlers: list[str] = Field(
        min_length=1, description="Python modules to import, in which the handlers are."
    )
    topics: dict[Topic, TopicSettings] = Field(
        {}, description="Topics as `--create-topics` makes them."
    )
    pipelines: dict[Named, Pipeline] = Field(
        min_length=1, description="The pipelines by their names."
    )
    server: Server = Field(Server(), description="Health, statistics and metrics over HTTP.")
    startup_timeout: Duration | None = Field(
        None, description="Exit with code 69 when no broker answers for so long; off by default."
    )

    @model_validator(mode="before")
    @classmethod
    def _pass_lifecycle_on(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("pipelines"), dict):
            return data
        shared = {key: data[key] for key in Lifecycle.model_fields if key in data}
        pipelines = {
            name: {**shared, **pipeline} if isinstance(pipeline, dict) else pipeline
            for name, pipeline in data["pipelines"].items()
        }
        return {**data, "pipelines": pipelines}

    def group(self, pipeline: str) -> str:
        """The consumer group of a pipeline."""
        return self.pipelines[pipeline].group or f"{self.name}.{pipeline}"
