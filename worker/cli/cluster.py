"""The brokers of `worker dev`: a spec is moved onto one of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from worker.app import Wrap, make_topics
from worker.kafka.admin import KafkaAdmin
from worker.kafka.broker import KafkaCluster
from worker.kafka.config import DEFAULT_MESSAGE_BYTES
from worker.kafka.embedded import EmbeddedBroker
from worker.ports import NewTopic, Offsets
from worker.settings import Security, Spec, TopicSettings
from worker.spec import Document
from worker.spec.topics import topics_of
from worker.types import Isolation, Problem, TopicInfo, TopicPartition

log = logging.getLogger(__name__)

DELIVERIES: Final = frozenset({"at_least_once"})
"""What the embedded broker can promise."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running broker that has the topics of a spec, and the spec that points at it."""

    document: Document
    wrap: Wrap
    keeps_all: bool
    """Whether no record is dropped, however many there are."""


@contextmanager
def embedded(document: Document) -> Iterator[Cluster]:
    """The broker inside this process; `refused` says what it cannot do."""
    with EmbeddedBroker() as broker:
        broker.create(topics_of(document.spec))
        log.info("embedded broker at %s", broker.address)
        admin = EmbeddedAdmin(broker)
        yield Cluster(moved(document, broker.address), Wrap(admin=lambda _: admin), keeps_all=False)


@contextmanager
def kafka(document: Document) -> Iterator[Cluster]:
    """A real Apache Kafka of one node."""
    log.info("starting Apache Kafka; the first time its files are downloaded")
    begun = time.monotonic()
    with KafkaCluster() as broker:
        took = time.monotonic() - begun
        log.info("Apache Kafka at %s, started in %.1f s", broker.address, took)
        here = moved(document, broker.address)
        topics = {topic: _alone(here.spec, topic) for topic in topics_of(here.spec)}
        make_topics(here, KafkaAdmin(here.spec.kafka), topics)
        yield Cluster(here, Wrap(), keeps_all=True)


def _alone(spec: Spec, topic: str) -> TopicSettings:
    """The settings of a topic on the only node that there is."""
    return spec.topics.get(topic, TopicSettings()).model_copy(update={"replication": 1})


def refused(document: Document) -> list[Problem]:
    """What a spec wants that the embedded broker cannot do."""
    other = "or use --broker kafka"
    problems = [
        document.problem(
            ("topics", topic, "partitions"),
            f"{settings.partitions}; the embedded broker makes {EmbeddedBroker.partitions}: "
            f"write that, leave it out, {other}",
        )
        for topic, settings in document.spec.topics.items()
        if settings.partitions not in {None, EmbeddedBroker.partitions}
    ]
    problems += [
        document.problem(
            ("pipelines", name, "delivery"),
            f"{pipeline.delivery}; the embedded broker knows at_least_once only: "
            f"write that, {other}",
        )
        for name, pipeline in document.spec.pipelines.items()
        if pipeline.delivery not in DELIVERIES
    ]
    return problems


def moved(document: Document, address: str) -> Document:
    """The same spec on other brokers, which ask for no security."""
    spec = document.spec
    there = {"brokers": address.split(","), "security": Security()}
    settings = spec.kafka.model_copy(update=there)
    return replace(document, spec=spec.model_copy(update={"kafka": settings}))


class EmbeddedAdmin:
    """`ports.Admin` of the embedded broker, which answers no admin requests."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._broker = broker
        self._made: list[str] = []

    def names(self) -> Sequence[str]:
        """See `ports.Admin`; the topics that were made here."""
        return self._made

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        """See `ports.Admin`; the broker makes topics that it is asked for."""
        return {
            topic: TopicInfo(self._broker.partitions, DEFAULT_MESSAGE_BYTES) for topic in topics
        }

    def create(self, topics: Mapping[str, NewTopic]) -> None:
        """See `ports.Admin`."""
        self._broker.create(list(topics))
        self._made += topics

    def uncommitted(self, _group: str, topics: Sequence[str]) -> Mapping[str, int]:
        """See `ports.Admin`; the broker has nothing of an earlier run."""
        return dict.fromkeys(topics, 0)

    def allowed(self, _groups: Iterable[str]) -> Mapping[str, frozenset[str]]:
        """See `ports.Admin`; everybody may do everything."""
        return {}

    def ends(self, _partitions: Sequence[TopicPartition], _isolation: Isolation) -> Offsets:
        """See `ports.Admin`; the broker is not asked."""
        return {}

    def close(self) -> None:
        """See `ports.Admin`; the broker is closed by who made it."""
