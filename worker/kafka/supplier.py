"""The clients of a process on Apache Kafka."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from uuid import uuid4

from worker.kafka import config
from worker.kafka.admin import KafkaAdmin
from worker.kafka.consumer import KafkaConsumer
from worker.kafka.producer import KafkaProducer
from worker.kafka.questions import holder
from worker.kafka.table import KafkaTable
from worker.kafka.transactional import KafkaTransactional
from worker.kafka.versions import require_fencing
from worker.settings import KafkaSettings, Pipeline

log = logging.getLogger(__name__)


class KafkaClients:
    """Implements `ports.ClientSupplier`, for the process of this index."""

    def __init__(self, kafka: KafkaSettings, process: int) -> None:
        self._kafka = kafka
        self._process = process
        self._instance = uuid4().hex
        """Of pipelines that do not say theirs."""

    def admin(self, timeout: float) -> KafkaAdmin:
        """See `ports.ClientSupplier`."""
        return KafkaAdmin(self._kafka, timeout)

    def consumer(self, group: str, pipeline: Pipeline) -> KafkaConsumer:
        """See `ports.ClientSupplier`."""
        return KafkaConsumer(config.consumer(self._kafka, group, pipeline, self._process))

    def producer(self, limits: Mapping[str, int], *, alone: bool) -> KafkaProducer:
        """See `ports.ClientSupplier`."""
        properties = config.producer(self._kafka, limits)
        return KafkaProducer(config.alone(properties) if alone else properties)

    def transactional(
        self, group: str, pipeline: Pipeline, limits: Mapping[str, int], *, alone: bool
    ) -> KafkaTransactional:
        """See `ports.ClientSupplier`."""
        identity = config.identity(group, pipeline.instance or self._instance, self._process)
        timeout = pipeline.transaction.timeout
        properties = config.transactional(self._kafka, limits, identity, timeout)
        return KafkaTransactional(config.alone(properties) if alone else properties)

    def table(self, group: str) -> KafkaTable:
        """See `ports.ClientSupplier`."""
        return KafkaTable(self._kafka, group)

    def require_fencing(self, timeout: float) -> None:
        """See `ports.ClientSupplier`."""
        require_fencing(self._kafka, timeout)

    def has_owner(self, group: str, pipeline: Pipeline, timeout: float) -> bool:
        """See `ports.ClientSupplier`."""
        properties = config.consumer(self._kafka, group, pipeline, self._process)
        return holder(properties, log, timeout) is not None
