"""`ports.Producer` on confluent-kafka."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Producer as Client

from worker.errors import ClientError, ClientFatal, QueueFull
from worker.kafka.callbacks import Kept, client_logger
from worker.kafka.config import Properties
from worker.kafka.stats import Statistics
from worker.ports import OnDelivery
from worker.types import ClientTotals, Encoded


class KafkaProducer:
    """An idempotent producer; made with the properties of `config.producer`."""

    def __init__(self, properties: Properties) -> None:
        self._statistics = Statistics()
        self._kept = Kept()
        self._fatal: str | None = None
        self._log = client_logger("producer")
        self._client = Client(
            {
                **properties,
                "stats_cb": self._kept.guard(self._statistics.update),
                "error_cb": self._kept.guard(self._on_error),
            },
            logger=self._log,
        )
        self._produce = self._client.produce

    def send(self, record: Encoded, on_delivery: OnDelivery) -> None:
        """See `ports.Producer`."""
        if self._fatal is not None:
            raise ClientFatal(self._fatal)
        try:
            self._produce(
                record.topic, record.value, record.key, on_delivery=on_delivery, **_rest(record)
            )
        except BufferError as error:
            raise QueueFull(str(error)) from None
        except KafkaException as error:
            raise ClientError(str(error.args[0])) from error
        except (TypeError, ValueError) as error:
            raise ClientError(f"a record for {record.topic}: {error}") from error

    def poll(self, timeout: float) -> int:
        """See `ports.Producer`."""
        return self._client.poll(timeout)

    def totals(self) -> ClientTotals:
        """See `ports.Producer`."""
        return self._statistics.totals()

    def close(self, timeout: float) -> None:
        """See `ports.Producer`."""
        if timeout and self._client.flush(timeout) == 0:
            return
        self._client.purge()
        self._client.flush(1.0)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = str(error)
        self._log.warning("%s", error)


def _rest(record: Encoded) -> dict[str, Any]:
    if not record.headers and record.partition is None and record.timestamp is None:
        return {}
    rest: dict[str, Any] = {}
    if record.headers:
        rest["headers"] = list(record.headers)
    if record.partition is not None:
        rest["partition"] = record.partition
    if record.timestamp is not None:
        rest["timestamp"] = record.timestamp
    return rest
