"""The spec: its pipelines, their topics, and the process around them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator

from worker.settings.kafka import KafkaSettings
from worker.settings.tests import Tests
from worker.settings.values import (
    NAME,
    Duration,
    ExceptionName,
    HeaderName,
    HostName,
    LaneName,
    Model,
    ModuleName,
    Rate,
    SerdeName,
    Size,
    Sources,
    StartPlace,
    Topic,
    Version,
    growing,
)
from worker.types import Isolation

LONGEST_TRANSACTION: Final = 900.0
"""Seconds: what brokers allow by default."""
MOST_TIERS: Final = 20
"""Topics of its own that a pipeline may have for retries."""


class TopicSettings(Model):
    """How a topic is made by `worker apply`, or by `--create-topics` where it does not exist."""

    partitions: int | None = Field(
        None, ge=1, le=100_000, description="Partitions; the broker's default."
    )
    replication: int | None = Field(
        None, ge=1, le=10_000, description="Replicas; the broker's default."
    )
    config: dict[str, str | int | bool] = Field(
        {}, description="Topic configuration of Kafka, such as `retention.ms`."
    )


class CommitSettings(Model):
    """When offsets are committed."""

    interval: Duration = Field(1.0, gt=0, description="Longest time between two commits.")
    messages: int = Field(10_000, ge=1, description="Commit as soon as so many are finished.")


class TransactionSettings(Model):
    """Transactions of a pipeline with `delivery: exactly_once`."""

    interval: Duration = Field(0.1, gt=0, description="Longest time between two commits.")
    messages: int = Field(10_000, ge=1, description="Commit as soon as so many are finished.")
    timeout: Duration = Field(
        30.0,
        ge=1,
        le=LONGEST_TRANSACTION,
        description="The cluster aborts a transaction that is open for so long, as one whose "
        "process was killed; at most the brokers' `transaction.max.timeout.ms`. "
        "A record that is not acknowledged in half of it has failed.",
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.interval > self.timeout / 2:
            raise ValueError(
                "interval must be at most half of timeout, so that there is time to commit; "
                f"they are {self.interval:g}s and {self.timeout:g}s"
            )
        return self


class InFlightSettings(Model):
    """How much a pipeline holds in memory between poll and acknowledgement."""

    messages: int = Field(10_000, ge=1, description="Messages at most.")
    bytes: Size = Field(32 * 1024**2, ge=1, description="Bytes of keys and payloads at most.")


class RateLimitSettings(Model):
    """How fast messages are handled, in each process."""

    pipeline: Rate | None = Field(None, description="Messages of the pipeline together.")
    lane: Rate | None = Field(
        None, description="Messages of each lane; needs `ordering: key`. Those without a key pass."
    )


def _rate_limit(value: Any) -> Any:
    return {"pipeline": value} if not isinstance(value, (dict, RateLimitSettings)) else value


RateLimit = Annotated[
    RateLimitSettings,
    BeforeValidator(_rate_limit, json_schema_input_type=Rate | RateLimitSettings),
]


class BackoffSettings(Model):
    """How long to wait before a message is tried again."""

    initial: Duration = Field(0.2, gt=0, description="Wait before the second attempt.")
    max: Duration = Field(30.0, gt=0, description="Longest wait.")
    multiplier: float = Field(
        2.0, ge=1, le=10, description="How many times longer each further wait is."
    )
    jitter: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Part of a wait that is drawn by lot: with 0.5 a wait of 10s takes 5s to 10s.",
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.initial > self.max:
            raise ValueError(
                f"initial must be at most max; they are {self.initial:g}s and {self.max:g}s"
            )
        return self


class RetrySettings(Model):
    """Trying again what has failed: in place, where its lane waits, then out of retry topics."""

    attempts: int = Field(
        1,
        ge=1,
        description="Attempts at a message in place at most, the first included; each of `topics` "
        "gives one more.",
    )
    topics: Annotated[list[Annotated[Duration, Field(gt=0.0)]], AfterValidator(growing)] = Field(
        [],
        max_length=MOST_TIERS,
        description="Waits after the attempts in place, each longer than the one before: a message "
        "spends each in a topic of its own, `{group}.retry.0` and so on.",
    )
    keep_order: bool | None = Field(
        None,
        description="Whether messages of a lane follow one that has gone to a retry topic, so that "
        "their order is kept; by default with `ordering: key`. `ordering: partition` needs `false` "
        "beside `topics`.",
    )
    backoff: BackoffSettings = Field(
        BackoffSettings(), description="How long to wait before each further attempt."
    )
    on: list[ExceptionName] | None = Field(
        None,
        min_length=1,
        description="Exceptions after which to try again, by the names of their classes or of "
        "bases, such as `TimeoutError` or `httpx.HTTPError`; by default all.",
    )
    give_up_on: list[ExceptionName] = Field(
        [], description="Exceptions after which not to try again, even if `on` names a base."
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        both = sorted({*self.give_up_on}.intersection(self.on or ()))
        if both:
            raise ValueError(f"on and give_up_on both name {', '.join(both)}")
        return self


class RedactSettings(Model):
    """What of a message its dead letter must not hold."""

    value: bool = Field(False, description="Leave the payload out.")
    headers: list[HeaderName] = Field(
        [],
        description="Leave these headers out, in whatever case; `*` stands for any characters, "
        "as in `x-*`.",
    )


class FloodLimitSettings(Model):
    """How many messages of a partition may fail for good before it goes on with one at a time."""

    max_ratio: float = Field(0.5, ge=0.01, le=1, description="Part of the last `window` messages.")
    max_consecutive: int = Field(100, ge=1, description="Messages in a row.")
    window: int = Field(
        1000, ge=1, le=1_000_000, description="Messages over which the ratio is taken."
    )


class BreakerSettings(Model):
    """Waiting for what handlers depend on, while it is away, instead of giving messages up."""

    name: str = Field(
        pattern=NAME,
        description="Name of the dependency; pipelines with the same name wait together.",
    )
    failures: int = Field(5, ge=1, description="Failures in a row that open the breaker.")
    reset: Duration = Field(
        30.0, gt=0, description="How long an open breaker waits before it tries one message."
    )
    on: list[ExceptionName] | None = Field(
        None,
        min_length=1,
        description="Exceptions that tell of the dependency, by the names of their classes or of "
        "bases, such as `ConnectionError`; by default all but `Retry`.",
    )


class DeadLetterSettings(Model):
    """Where messages go that cannot be handled."""

    default: Topic = Field(description="The dead-letter topic.")
    by: dict[ExceptionName, Topic] = Field(
        {},
        description="Topics of their own for exceptions, by the names of their classes or of "
        "bases, such as `ValidationError`, or for reasons, such as `too_large`.",
    )
    message: bool = Field(
        False, description="Write the exception's text to `dlq.message`; it may hold payload."
    )
    stack: bool = Field(
        False,
        description="Write the frames of the exception's traceback to `dlq.stack`: files, "
        "functions and lines of code; no values, and no text of an exception.",
    )
    redact: RedactSettings = Field(
        RedactSettings(), description="Keeping the payload or headers out of dead letters."
    )

    @property
    def topics(self) -> list[str]:
        """Every topic that dead letters go to, each once."""
        return [*dict.fromkeys([self.default, *self.by.values()])]

    def places(self) -> list[tuple[tuple[str, ...], str]]:
        """The same, with the path of each key that names one in the pipeline."""
        by = [(("dead_letter", "by", name), topic) for name, topic in self.by.items()]
        return [(("dead_letter",), self.default), *by]

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.message and self.redact.value:
            raise ValueError(
                "message would write texts of exceptions, which may hold the value that redact "
                "leaves out"
            )
        return self


def _dead_letter(value: Any) -> Any:
    if not isinstance(value, (str, dict, DeadLetterSettings)):
        raise ValueError(f"{value!r} is not a topic or a mapping with `default` and `message`")
    return {"default": value} if isinstance(value, str) else value


DeadLetterTarget = Annotated[
    DeadLetterSettings,
    BeforeValidator(_dead_letter, json_schema_input_type=Topic | DeadLetterSettings),
]


class Lifecycle(Model):
    """Keys that a pipeline may set for itself, or the spec for all its pipelines."""

    instance: str | None = Field(
        None,
        pattern=NAME,
        description="Name of this process, unique in its group, for static membership; "
        "`group.instance.id` is `{group}.{instance}.{process index}`.",
    )
    isolation: Isolation = Field(
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
    source: Sources = Field(
        alias="from",
        description="Topic to read, or a pattern such as `^orders-.*` that whole names of topics "
        "match, or a list of both.",
    )
    handler: str = Field(description="Name of the handler: that of the decorated function.")
    to: Topic | None = Field(None, description="Topic of results that name none.")
    start: StartPlace = Field(
        "oldest",
        description="Where a group starts that has committed nothing: `oldest`, `newest` or a time "
        "with its zone. Partitions that are added later are read from their oldest message.",
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
    delivery: Literal["at_least_once", "exactly_once"] = Field(
        "at_least_once",
        description="The promise made: results, dead letters and retries of a message at least "
        "once, or, for readers with `read_committed`, exactly once.",
    )
    ordering: Literal["partition", "key", "none"] = Field(
        "partition",
        description="What is handled one after the other: the messages of a `partition`, those of "
        "a `key` (other keys beside them), or nothing (`none`).",
    )
    lane: LaneName = Field(
        "key",
        description="Under `ordering: key`, what messages have in common that are handled one "
        "after the other: their `key`, `headers.NAME`, or what a function says: its name, marked "
        "with `@lane`.",
    )
    rate_limit: RateLimit | None = Field(
        None,
        description="How fast messages are handled: a rate such as `500/s`, or a map with "
        "`pipeline` and `lane`.",
    )
    concurrency: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Handlers in flight; by default one per core, 1000 of async ones.",
    )
    pool: Literal["thread", "asyncio", "process"] | None = Field(
        None,
        description="Where handlers run: sync ones in threads, or each in a `process` of its own "
        "for those that compute or may crash; async ones with `asyncio`.",
    )
    timeout: Duration | None = Field(
        None,
        gt=0.0,
        description="How long a handler may take for a message or a batch; off by default. An "
        "async one is then cancelled, one in a process ended, one in a thread reported.",
    )
    batch: int | None = Field(
        None, ge=1, le=100_000, description="Largest batch of a batch handler."
    )
    retry: RetrySettings = Field(
        RetrySettings(), description="Trying again what has failed before it is given up."
    )
    breaker: BreakerSettings | None = Field(
        None, description="Waiting for what the handler depends on, while that is away."
    )
    dead_letter: DeadLetterTarget | None = Field(
        None, description="Dead-letter topic; a text, or a map with `default`."
    )
    flood_limit: FloodLimitSettings | None = Field(
        None,
        description="With `dead_letter` or `on_error: skip`, when so many messages of a partition "
        "fail that it tries one at a time instead of giving all up; off by default.",
    )
    on_error: Literal["stop", "skip"] | None = Field(
        None,
        description="Without `dead_letter`, what to do with a message that cannot be handled: "
        "`stop` (default) the pipeline in front of it, or `skip` it, counted and logged.",
    )
    commit: CommitSettings = Field(CommitSettings(), description="Committing of offsets.")
    transaction: TransactionSettings = Field(
        TransactionSettings(),
        description="Transactions, with `delivery: exactly_once`.",
    )
    in_flight: InFlightSettings = Field(InFlightSettings(), description="Bound of memory.")

    @property
    def keeps_order(self) -> bool:
        """Whether messages of a lane follow one that has gone to a retry topic."""
        wanted = self.retry.keep_order is not False
        return bool(self.retry.topics) and self.ordering == "key" and wanted

    @property
    def at_stake(self) -> int:
        """How many messages a crash may find between poll and commit, at most."""
        return self.in_flight.messages + self._committing.messages

    @property
    def commits_within(self) -> float:
        """Seconds between two commits, at most."""
        return self._committing.interval

    @property
    def _committing(self) -> CommitSettings | TransactionSettings:
        return self.transaction if self.delivery == "exactly_once" else self.commit

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.dead_letter is not None and self.on_error is not None:
            raise ValueError("dead_letter and on_error exclude each other")
        return self


class TracingSettings(Model):
    """How messages are followed; where spans go is said by the variables of OpenTelemetry."""

    incoming: Literal["link", "parent"] = Field(
        "link",
        description="What the span of a message has to do with that of its producer: a `link` to "
        "it, in a trace of its own, or it is the `parent` and its trace goes on.",
    )
    limit: Rate = Field(
        50.0,
        description="Messages of a pipeline that are followed at most, in each process; the others "
        "pass their context on.",
    )


class Server(Model):
    """The HTTP endpoint."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 switches it off.")
    hosts: list[HostName] | None = Field(
        None,
        description="Names of hosts, such as that of a proxy, that requests may be for beside "
        "localhost and addresses; by default any, and at an address of this machine alone none.",
    )
    kafka_exporter: bool = Field(
        False, description="Whether `/metrics` tells lag under the names of kafka-exporter, too."
    )


Named = Annotated[str, Field(pattern=NAME)]


class Spec(Lifecycle):
    """A worker: the cluster, the handlers' modules and the pipelines."""

    version: Version = Field(description="Version of the spec's format.")
    name: Named = Field(description="Name of the worker; the groups' default prefix.")
    kafka: KafkaSettings = Field(description="The Kafka cluster.")
    handlers: list[ModuleName] = Field(
        min_length=1, description="Python modules to import, in which the handlers are."
    )
    topics: dict[Topic, TopicSettings] = Field(
        {}, description="Topics as `worker apply` and `--create-topics` make them."
    )
    pipelines: dict[Named, Pipeline] = Field(
        min_length=1, description="The pipelines by their names."
    )
    server: Server = Field(Server(), description="Health, statistics and metrics over HTTP.")
    tracing: TracingSettings = Field(
        TracingSettings(), description="Spans of messages, once an exporter is set up."
    )
    tests: Tests = Field({}, description="Tests of the pipelines, which `worker test` runs.")
    startup_timeout: Duration | None = Field(
        None, description="Exit with code 69 when no broker answers for so long; off by default."
    )

    _from_files: tuple[str, ...] = PrivateAttr(())

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

    @staticmethod
    def of_cluster(kafka: KafkaSettings) -> Spec:
        """The spec of nothing, where no more than a cluster is known."""
        return Spec.model_construct(version=1, name="", kafka=kafka, handlers=[], pipelines={})

    @property
    def from_files(self) -> tuple[str, ...]:
        """What `${file:...}` has brought into it, in whatever key: all of it is secret."""
        return self._from_files

    def keep_secret(self, contents: Iterable[str]) -> None:
        """Take for secret what files have brought into it; its copies do so, too."""
        self._from_files = tuple(contents)

    def group(self, pipeline: str) -> str:
        """The consumer group of a pipeline."""
        return self.pipelines[pipeline].group or f"{self.name}.{pipeline}"
