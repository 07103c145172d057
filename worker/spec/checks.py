"""Contradictions between keys of a spec that each are legal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from worker.settings import MOST_TIERS, KafkaSettings, Pipeline, Spec
from worker.settings.patterns import INTERNAL, is_pattern, reads
from worker.settings.topics import (
    fence_topic,
    ledger_topic,
    parking_topic,
    redrive_topic,
    retry_topic,
)
from worker.settings.values import LOOPBACK, is_topic
from worker.spec.tree import KeyPath

Contradiction = tuple[KeyPath, str]


def contradictions(spec: Spec) -> list[Contradiction]:
    """Everything that cannot work, as the path of a key and a sentence."""
    return [
        *_security(spec),
        *_clients(spec.kafka),
        *_groups(spec),
        *_identities(spec),
        *_breakers(spec),
        *(
            found
            for name, pipeline in spec.pipelines.items()
            for found in [
                *_pipeline(("pipelines", name), spec.group(name), pipeline),
                *_transaction(("pipelines", name, "transaction"), spec.kafka, pipeline),
            ]
        ),
    ]


def _security(spec: Spec) -> Iterator[Contradiction]:
    security = spec.kafka.security
    away = [broker for broker in spec.kafka.brokers if not LOOPBACK.fullmatch(broker)]
    if security.mechanism == "OAUTHBEARER" and security.oauth is None:
        words = "OAUTHBEARER needs `oauth`, where the tokens come from"
        yield ("kafka", "security", "mechanism"), words
    if security.protocol == "SASL_PLAINTEXT" and security.mechanism == "PLAIN" and away:
        yield (
            ("kafka", "security", "mechanism"),
            f"PLAIN over SASL_PLAINTEXT sends the password readably to {away[0]}; "
            "use SASL_SSL, or a SCRAM mechanism",
        )


def _clients(kafka: KafkaSettings) -> Iterator[Contradiction]:
    """What clients may do and pipelines may not, since they would lose or repeat records."""
    producer, consumer = kafka.producer, kafka.consumer
    if producer.acks != "all":
        words = f"{producer.acks}; pipelines need all, or they would lose what a leader loses"
        yield ("kafka", "producer", "acks"), words
    if not producer.idempotent:
        words = "false; pipelines need true, or they would repeat and reorder records"
        yield ("kafka", "producer", "idempotent"), words
    if producer.max_message_bytes is not None:
        words = "is for clients; a pipeline sends what the topic takes, its max.message.bytes"
        yield ("kafka", "producer", "max_message_bytes"), words
    for part, enabled in (("producer", producer.enabled), ("consumer", consumer.enabled)):
        if not enabled:
            yield ("kafka", part, "enabled"), "false; pipelines read and send, so they need true"
    if kafka.group.instance is not None:
        words = "is for clients; pipelines take `instance` at the top level or in a pipeline"
        yield ("kafka", "group", "instance"), words


def _groups(spec: Spec) -> Iterator[Contradiction]:
    users: dict[str, str] = {}
    for name in spec.pipelines:
        first = users.setdefault(spec.group(name), name)
        if first != name:
            yield (
                ("pipelines", name, "group"),
                f"group {spec.group(name)!r} is that of pipeline {first!r} too; "
                "each pipeline needs its own",
            )


def _identities(spec: Spec) -> Iterator[Contradiction]:
    """Those of transactions begin with group and instance: two pairs may be one text."""
    users: dict[str, str] = {}
    for name, pipeline in spec.pipelines.items():
        if pipeline.delivery != "exactly_once" or pipeline.instance is None:
            continue
        identity = f"{spec.group(name)}.{pipeline.instance}"
        first = users.setdefault(identity, name)
        if spec.group(first) != spec.group(name):
            other = spec.pipelines[first].instance
            yield (
                ("pipelines", name, "instance"),
                f"{pipeline.instance!r} in group {spec.group(name)!r} makes the transactional.id "
                f"{identity + '.0'!r}, as pipelines.{first}.instance {other!r} does in group "
                f"{spec.group(first)!r}: each would shut the other out; change one of them",
            )


def _breakers(spec: Spec) -> Iterator[Contradiction]:
    first: dict[str, str] = {}
    for name, pipeline in spec.pipelines.items():
        breaker = pipeline.breaker
        if breaker is None:
            continue
        other = first.setdefault(breaker.name, name)
        if breaker != spec.pipelines[other].breaker:
            yield (
                ("pipelines", name, "breaker"),
                f"{breaker.name!r} is other than in pipeline {other!r}; pipelines share a breaker "
                "by its name, with the same `failures`, `reset` and `on`",
            )


def _transaction(
    here: KeyPath, kafka: KafkaSettings, pipeline: Pipeline
) -> Iterator[Contradiction]:
    """What is set of transactions has to agree with when records fail."""
    if pipeline.delivery != "exactly_once":
        if "transaction" in pipeline.model_fields_set:
            yield here, "is for `delivery: exactly_once`"
        return
    if "commit" in pipeline.model_fields_set:
        words = "is for `delivery: at_least_once`; `transaction` says when to commit exactly once"
        yield (*here[:-1], "commit"), words
    if pipeline.isolation != "read_committed":
        yield (
            (*here[:-1], "isolation"),
            f"{pipeline.isolation} would give `delivery: exactly_once` records that never were; "
            "legal is read_committed",
        )
    timeout, producer = pipeline.transaction.timeout, kafka.producer
    patient = "delivery_timeout" in producer.model_fields_set
    if patient and producer.delivery_timeout >= timeout:
        yield (
            (*here, "timeout"),
            f"{timeout:g}s must be longer than kafka.producer.delivery_timeout, which is "
            f"{producer.delivery_timeout:g}s, or records could still fail when it is over",
        )
    if producer.linger >= timeout / 2:
        yield (
            (*here, "timeout"),
            f"{timeout:g}s must be more than twice kafka.producer.linger, which is "
            f"{producer.linger:g}s",
        )


def _lanes(here: KeyPath, pipeline: Pipeline) -> Iterator[Contradiction]:
    if pipeline.ordering != "key":
        if "lane" in pipeline.model_fields_set:
            yield (*here, "lane"), f"needs `ordering: key`; {pipeline.ordering} has no such lanes"
        if pipeline.rate_limit is not None and pipeline.rate_limit.lane is not None:
            words = f"`lane` needs `ordering: key`; {pipeline.ordering} has no such lanes"
            yield (*here, "rate_limit"), words


def _retry(here: KeyPath, pipeline: Pipeline) -> Iterator[Contradiction]:
    """Without `attempts` nothing is tried again; a number may be 1, to switch it off."""
    retry, ordering = pipeline.retry, pipeline.ordering
    says_how_often = retry.topics or "attempts" in retry.model_fields_set
    if "retry" in pipeline.model_fields_set and not says_how_often:
        yield (
            (*here, "retry"),
            "says no `attempts` and no `topics`, and by default there is one attempt: nothing is "
            "tried again",
        )
    if retry.keep_order and not pipeline.keeps_order:
        yield (
            (*here, "retry"),
            "`keep_order: true` needs `topics`, which messages could overtake, and `ordering: key`",
        )
    if retry.topics and ordering == "partition" and retry.keep_order is None:
        yield (
            (*here, "retry"),
            "with `ordering: partition` the messages behind one that goes to `topics` overtake it: "
            "say `keep_order: false`, or keep that of keys with `ordering: key`",
        )


def _retry_topics(here: KeyPath, group: str, pipeline: Pipeline) -> Iterator[Contradiction]:
    """What cannot be the name of a topic, or is that of another one."""
    retry = pipeline.retry
    own = [
        *_tiers(group, len(retry.topics)),
        *([fence_topic(group)] if pipeline.keeps_order else ()),
    ]
    illegal = next((topic for topic in own if not is_topic(topic)), None)
    if illegal is not None:
        yield (
            (*here, "group"),
            f"{group!r} cannot name the topics of `retry.topics`: {illegal!r} is not a topic name: "
            "letters, digits, '.', '_' and '-', 249 at most",
        )
    used = [(("from",), topic) for topic in pipeline.source if not is_pattern(topic)]
    for key, topic in [*used, *_produced(pipeline)]:
        if topic in own:
            yield (*here, *key), f"{topic!r} belongs to `retry.topics` of this pipeline"


def _produced(pipeline: Pipeline) -> list[tuple[KeyPath, str]]:
    """Topics of results and dead letters, with the keys that name them in the pipeline."""
    results: list[tuple[KeyPath, str]] = [] if pipeline.to is None else [(("to",), pipeline.to)]
    return [*results, *([] if pipeline.dead_letter is None else pipeline.dead_letter.places())]


def _pipeline(here: KeyPath, group: str, pipeline: Pipeline) -> Iterator[Contradiction]:
    yield from _lanes(here, pipeline)
    yield from _retry(here, pipeline)
    yield from _retry_topics(here, group, pipeline)
    gives_up = pipeline.dead_letter is not None or pipeline.on_error == "skip"
    if pipeline.flood_limit is not None and not gives_up:
        words = "needs `dead_letter` or `on_error: skip`; without, the first failure stops it"
        yield (*here, "flood_limit"), words
    target = pipeline.dead_letter
    dead_letters = [] if target is None else target.places()
    for key, topic in _produced(pipeline):
        if reads(pipeline.source, topic):
            yield (*here, *key), f"{topic!r} is also read by this pipeline: a loop without end"
    yield from _patterns(here, group, pipeline, [topic for _, topic in dead_letters])
    for key, topic in dead_letters:
        if topic == pipeline.to:
            yield (*here, *key), f"{topic!r} is also the topic of results, `to`"


def _patterns(
    here: KeyPath, group: str, pipeline: Pipeline, dead_letters: Sequence[str]
) -> Iterator[Contradiction]:
    """What a pattern must not match, and what cannot be read beside one."""
    patterns = [source for source in pipeline.source if is_pattern(source)]
    for pattern in patterns:
        own = next((one for one in _own_topics(group, dead_letters) if reads([pattern], one)), None)
        if own is not None:
            words = (
                f"{pattern!r} matches {own!r}, a topic of the pipeline's own: a loop without end"
            )
            yield (*here, "from"), words
    internal = [source for source in pipeline.source if source.startswith(INTERNAL)]
    if patterns and internal:
        yield (
            (*here, "from"),
            f"{internal[0]!r} cannot be read beside a pattern, with which topics that begin with "
            f"{INTERNAL} are left out; give it a pipeline of its own",
        )


def _own_topics(group: str, dead_letters: Sequence[str]) -> list[str]:
    beside = [name(topic) for topic in dead_letters for name in (ledger_topic, parking_topic)]
    return [*_tiers(group, MOST_TIERS), redrive_topic(group), fence_topic(group), *beside]


def _tiers(group: str, number: int) -> list[str]:
    return [retry_topic(group, tier) for tier in range(number)]
