"""`ports.Admin` on confluent-kafka."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.cimpl import NewTopic as ClientTopic

from worker.errors import BrokersUnreachable, ClientError
from worker.kafka.callbacks import client_logger
from worker.kafka.config import DEFAULT_MESSAGE_BYTES, common
from worker.ports import NewTopic
from worker.settings import KafkaSettings
from worker.types import TopicInfo


class KafkaAdmin:
    """The cluster of these settings; every question is answered within `timeout` seconds."""

    def __init__(self, kafka: KafkaSettings, timeout: float = 10.0) -> None:
        self._brokers = ", ".join(kafka.brokers)
        self._timeout = timeout
        properties = common(kafka) | {"error_cb": lambda _error: None}
        self._client = AdminClient(properties, logger=client_logger("admin"))

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        """See `ports.Admin`."""
        partitions = self._partitions(topics)
        resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in partitions]
        limits: dict[str, int] = {}
        if resources:
            futures = self._client.describe_configs(resources, request_timeout=self._timeout)
            for resource, future in futures.items():
                limits[resource.name] = self._limit(future)
        return {topic: TopicInfo(n, limits[topic]) for topic, n in partitions.items()}

    def create(self, topics: Mapping[str, NewTopic]) -> None:
        """See `ports.Admin`; raises `ClientError` that names every topic that was refused."""
        new = [
            ClientTopic(
                name,
                num_partitions=topic.partitions or -1,
                replication_factor=topic.replication or -1,
                config={key: _text(value) for key, value in topic.config.items()},
            )
            for name, topic in topics.items()
        ]
        if not new:
            return
        refused = []
        for name, future in self._client.create_topics(new, request_timeout=self._timeout).items():
            try:
                future.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    refused.append(f"{name}: {error.args[0].str()}")
        if refused:
            raise ClientError("topics were not made: " + "; ".join(refused))
        self._wait_until_visible(list(topics))

    def close(self) -> None:
        """See `ports.Admin`."""

    def _partitions(self, topics: Sequence[str]) -> dict[str, int]:
        try:
            known = self._client.list_topics(timeout=self._timeout).topics
        except KafkaException as error:
            raise BrokersUnreachable(
                f"no broker of {self._brokers} answered in {self._timeout:.0f} s: {error.args[0].str()}"
            ) from error
        return {
            topic: len(known[topic].partitions)
            for topic in topics
            if topic in known and known[topic].error is None
        }

    def _limit(self, future: Any) -> int:
        try:
            return int(future.result()["max.message.bytes"].value)
        except KafkaException as error:
            if error.args[0].retriable():
                raise BrokersUnreachable(f"{self._brokers}: {error.args[0].str()}") from error
            return DEFAULT_MESSAGE_BYTES

    def _wait_until_visible(self, topics: Sequence[str]) -> None:
        deadline = time.monotonic() + self._timeout
        while missing := set(topics) - self._partitions(topics).keys():
            if time.monotonic() > deadline:
                raise ClientError(f"topics were made but cannot be seen yet: {', '.join(missing)}")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
