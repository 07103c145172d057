"""How the cluster is asked by an admin client, and what silence means."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._metadata import ClusterMetadata

from worker.errors import BrokersUnreachable, NotLetIn
from worker.kafka.config import common
from worker.kafka.failures import failure, is_retriable, made, unanswered
from worker.kafka.logs import ClientLog, client_logger
from worker.settings import KafkaSettings

Answer = TypeVar("Answer")

LOOK_AGAIN_AFTER: Final = 0.05
"""Seconds between two looks."""

QUIET: Final[dict[str, Any]] = {"log_level": 2, "statistics.interval.ms": 0}
"""Of a client that is asked: it logs no error, since who asks is told why there is no answer."""

NO_ANSWER: Final = {
    KafkaError._TIMED_OUT,  # noqa: SLF001 - public constants
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
}
"""Errors that mean that no broker has answered."""
_REFUSED: Final = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED}  # noqa: SLF001


class Asking:
    """An admin client of these settings; every question is answered within `timeout` seconds.

    Raises `ConnectionFailed` when librdkafka makes no client of them.
    """

    def __init__(self, kafka: KafkaSettings, timeout: float) -> None:
        self.kafka: Final = kafka
        self.timeout: Final = timeout
        self._reason: KafkaError | None = None
        self.log: Final = client_logger("admin")
        self.client = self._made()
        """The underlying client, for all but what coordinators are asked: see `described`."""

    def cluster(self) -> ClusterMetadata:
        """The brokers and topics; raises `BrokersUnreachable`."""
        try:
            found = self.client.list_topics(timeout=self.timeout)
        except KafkaException as error:
            raise self.unreachable(error.args[0]) from error
        self._reason = None
        return found

    def answers(
        self, ask: Callable[[], Mapping[Any, Future[Any]]], right: str = ""
    ) -> Mapping[Any, Any]:
        """Ask, and ask again while a leader or a coordinator is being found.

        `right` is that which it takes. Raises `BrokersUnreachable` or another `ClientError`.
        """
        return self._insist(lambda: {key: one.result() for key, one in ask().items()}, right)

    def group(self, group: str, *, rights: bool = False) -> Any:
        """What the coordinator of a group says of it, with `rights` what this user may do as well.

        It is the client's `ConsumerGroupDescription`, whose types deny what may be None. Raises
        `BrokersUnreachable` or another `ClientError`.
        """
        ask = partial(described, self._made, group, self.timeout, rights=rights)
        return self._insist(ask, f"Describe on group {group}")

    def _made(self) -> AdminClient:
        properties: Any = {**common(self.kafka), **QUIET, "error_cb": self._on_error}
        return made(lambda: AdminClient(properties, logger=ClientLog(self.log)))

    def _insist(self, ask: Callable[[], Answer], right: str) -> Answer:
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                return ask()
            except KafkaException as error:
                if not is_retriable(error.args[0]):
                    raise failure(error.args[0], right) from error
                if time.monotonic() >= deadline:
                    raise self.unreachable(error.args[0]) from error
            time.sleep(LOOK_AGAIN_AFTER)

    def answer(self, answer: Future[Any], right: str = "") -> Any:
        """What was answered; raises `BrokersUnreachable` or another `ClientError`."""
        try:
            return answer.result()
        except KafkaException as error:
            if error.args[0].code() in NO_ANSWER:
                raise self.unreachable(error.args[0]) from error
            raise failure(error.args[0], right) from error

    def unreachable(self, error: KafkaError) -> BrokersUnreachable:
        """Say why, which the client tells only who polls it."""
        self.client.poll(0)
        reason = self._reason or error
        kind = NotLetIn if reason.code() in _REFUSED else BrokersUnreachable
        return kind(str(unanswered(self.kafka.brokers, reason)))

    def _on_error(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - a public constant
            self._reason = error


def described(
    make: Callable[[], AdminClient], group: str, timeout: float, *, rights: bool = False
) -> Any:
    """What the coordinator of a group says of it; raises `KafkaException`.

    It is asked by a client of its own, which has gone when this returns. A client that had no
    answer in time ends the process once it has a connection to the coordinator, as the question is
    asked then though nobody waits any more: librdkafka's issue 4605.
    """
    client = make()
    try:
        (answer,) = client.describe_consumer_groups(
            [group], include_authorized_operations=rights, request_timeout=timeout
        ).values()
        return answer.result()
    finally:
        del client
