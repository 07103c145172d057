"""`ports.Producer` on confluent-kafka."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as Client

from worker.errors import ClientError, QueueFull
from worker.kafka.callbacks import Kept, weakly
from worker.kafka.config import Properties
from worker.kafka.failures import describe, failure, reason, refusal, undelivered
from worker.kafka.logs import ClientLog, client_logger
from worker.kafka.stats import Statistics
from worker.ports import OnFailed, OnStored
from worker.types import ClientTotals, Encoded, Failure, Headers

OnDelivery = Callable[[Any, Any], None]
"""Called with the error of a record, None if there is none, and the report of its delivery."""

News = tuple[Callable[[Any], None], object]
"""Who is to be told, and what."""

PURGE_TIMEOUT: Final = 1.0
"""Seconds to wait for the delivery reports of what was dropped."""

_HEADER_NAME: Final = re.compile(r"[^\x00\ud800-\udfff]*")
"""The client cuts a name at NUL and crashes the process at half a surrogate pair."""


class ReportingProducer:
    """The client's producer, which reports of each record; made with what `config.producer` gives.

    `on_error` is told of every error that the client reports.
    """

    def __init__(
        self, properties: Properties, on_error: Callable[[KafkaError], None] = lambda _: None
    ) -> None:
        self._on_any_error = on_error
        self._statistics = Statistics()
        self._kept = Kept()
        self._fatal: ClientError | None = None
        self._closed = False
        self._log = client_logger("producer")
        self._client = Client(
            {
                **properties,
                "stats_cb": self._kept.guard(self._statistics.update),
                "error_cb": self._kept.guard(weakly(self._on_error)),
            },
            logger=ClientLog(self._log),
        )

    def queue(self, records: Sequence[Encoded], on_delivery: OnDelivery) -> int:
        """Queue records as `ports.Producer.send` does; `on_delivery` is called once for each.

        A record that can never be sent is a `ClientError`.
        """
        if self._fatal is not None:
            raise self._fatal.anew()
        sent = 0
        produce = self._client.produce
        try:
            for record in records:
                # By position, which is a fifth faster; the sixth is another name of the fifth.
                produce(
                    record.topic,
                    record.value,
                    record.key,
                    -1 if record.partition is None else record.partition,
                    on_delivery,
                    None,
                    record.timestamp or 0,
                    _checked(record.headers) if record.headers else None,
                )
                sent += 1
        except (BufferError, KafkaException, TypeError, ValueError, OverflowError) as error:
            if not sent:
                raise _not_queued(records[0], error) from error
        return sent

    def refusal(self, error: object) -> Failure | None:
        """See `ports.Producer`."""
        return refusal(error)

    def poll(self, timeout: float) -> int:
        """See `ports.Producer`."""
        self._kept.release()
        try:  # as `_called` does, without its call
            return self._client.poll(timeout)
        except (KafkaException, SystemError) as error:
            self._on_error(reason(error))
            return 0

    def serve(self, timeout: float) -> int:
        """Serve delivery reports as `poll` does, for any thread; raises nothing."""
        return self._called(self._client.poll, timeout)

    @property
    def client(self) -> Client:
        """The underlying client, which any thread may use."""
        return self._client

    @property
    def fatal(self) -> ClientError | None:
        """Why only a new producer can go on."""
        return self._fatal

    @property
    def connected(self) -> bool:
        """Whether at least one broker is connected."""
        return self._statistics.connected

    def totals(self) -> ClientTotals:
        """See `ports.Producer`."""
        return self._statistics.totals()

    def drop(self, timeout: float) -> int:
        """Deliver what is queued, and give up what is not after `timeout` seconds; how many."""
        left = self._called(self._client.flush, timeout) or len(self._client)
        if left:
            self._client.purge()
            self._called(self._client.flush, PURGE_TIMEOUT)
        return left

    def close(self, timeout: float) -> None:
        """See `ports.Producer`."""
        if self._closed:
            return
        self._closed = True
        self.drop(timeout)
        self._client.close()
        self._kept.release()

    def _let_go(self) -> None:
        """Have the client go without its `close`, whoever may still have this producer.

        Before Python 3.12 errors that it raised may never go, nor the frames that have it.
        """
        self._client = cast("Client", _Gone())

    def _called(self, call: Callable[[float], int], timeout: float) -> int:
        """What the client returns; it raises a fatal error once instead of calling back."""
        try:
            return call(timeout)
        except (KafkaException, SystemError) as error:
            self._on_error(reason(error))
            return 0

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = self._failure(error)
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - a public constant
            self._statistics.connected = False
        self._log.warning("%s", describe(error))
        self._on_any_error(error)

    def _failure(self, error: KafkaError) -> ClientError:
        return failure(error)


class _Gone:
    """In the place of a client that was let go of: there is nothing to deliver."""

    def poll(self, _timeout: float) -> int:
        return 0

    def flush(self, _timeout: float) -> int:
        return 0

    def __len__(self) -> int:
        return 0


class KafkaProducer(ReportingProducer):
    """Implements `ports.Producer`.

    A report for each record costs a tenth of what a message does. So the client is to report only
    failures, and a receipt says when the others are stored: the client lets go of it with each
    record that is (`dr_msg_cb` in its `Producer.c`), so that with the last one it is gone.
    """

    def __init__(
        self, properties: Properties, on_error: Callable[[KafkaError], None] = lambda _: None
    ) -> None:
        super().__init__({**properties, "delivery.report.only.error": True}, on_error)
        self._news: deque[News] = deque()

    def send(self, records: Sequence[Encoded], on_stored: OnStored, on_failed: OnFailed) -> int:
        """See `ports.Producer`."""
        receipt = _Receipt(self._news, on_failed)
        sent = self.queue(records, receipt)
        receipt.when_gone = on_stored, sent
        return sent

    def poll(self, timeout: float) -> int:
        """See `ports.Producer`."""
        served = super().poll(timeout)
        self._tell()
        return served

    def close(self, timeout: float) -> None:
        """See `ports.Producer`."""
        super().close(timeout)
        self._tell()

    def _tell(self) -> None:
        while self._news:
            tell, what = self._news.popleft()
            tell(what)


class _Receipt:
    """What the client holds once for each record of a call; no exception may leave it.

    Where the client is just raising a fatal error, every function called here has its effect and
    then fails with a `SystemError`: so one is called, and it is the last thing.
    """

    __slots__ = ("_news", "_on_failed", "when_gone")

    def __init__(self, news: deque[News], on_failed: OnFailed) -> None:
        self._news = news
        self._on_failed = on_failed
        self.when_gone: News | None = None
        """What there is to tell when all records are stored; nothing after a failure."""

    def __call__(self, error: KafkaError, report: Message) -> None:
        self.when_gone = None
        self._news.append((self._fail, (error, report)))

    def __del__(self) -> None:
        if self.when_gone is not None:
            self._news.append(self.when_gone)

    def _fail(self, report: tuple[KafkaError, Message]) -> None:
        error, message = report
        self._on_failed(undelivered(message.topic(), error))


def _not_queued(record: Encoded, error: Exception) -> ClientError:
    match error:
        case BufferError():
            return QueueFull(str(error))
        case KafkaException():
            return failure(error.args[0])
        case _:
            return ClientError(
                f"a record for {record.topic} cannot be sent: {error}",
                code=KafkaError._INVALID_ARG,  # noqa: SLF001 - a public constant
            )


def _checked(headers: Headers) -> list[tuple[str, str | bytes | None]]:
    for name, _ in headers:
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(
                f"header name {name!r} cannot be sent: it holds NUL or half a character"
            )
    return list(headers)
