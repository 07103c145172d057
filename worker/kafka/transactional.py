"""`ports.Transactional` on confluent-kafka."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, Literal
from uuid import uuid4

from confluent_kafka import KafkaError, KafkaException

from worker.aside import Aside
from worker.errors import ClientError, ClientFatal, Fenced, TransactionFailed
from worker.kafka.config import Properties, transactional
from worker.kafka.failures import NO_COORDINATOR, describe, failure, is_retriable, reason, specific
from worker.kafka.partitions import committable
from worker.kafka.producer import KafkaProducer
from worker.kafka.stats import lost_between
from worker.ports import Commits, Membership, OnFailed, OnStored
from worker.settings import KafkaSettings
from worker.types import Encoded

ANSWER_WITHIN: Final = 10.0
"""Seconds of one call, after which the same call is made again: no other resumes it."""
OVERTIME: Final = 1.0
"""Seconds after its time-out by which a call has to be back."""
PROMPT: Final = 0.5
"""Seconds that it may take to end a transaction; if it takes longer, the client may have asked
again, which its statistics tell. A coordinator that moves takes longer than this."""
STATISTICS_WITHIN: Final = 3.0
"""Seconds within which statistics come, which they do every second."""
ENDLESS: Final = 2_147_483.0
"""Seconds that a client can ask a transaction to last at most; by default brokers allow 900."""
MOMENT: Final = 0.05
"""Seconds to wait before a call is made again that was refused at once."""

_FENCED: Final = {
    KafkaError._FENCED,  # noqa: SLF001 - public constants
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
}
_CUT_OFF: Final = {
    KafkaError._TIMED_OUT,  # noqa: SLF001 - public constants
    KafkaError._TRANSPORT,  # noqa: SLF001
}
"""Errors after which a request may still be on its way to a broker."""

_PURGED: Final = {
    KafkaError._PURGE_INFLIGHT,  # noqa: SLF001 - public constants
    KafkaError._PURGE_QUEUE,  # noqa: SLF001
}
"""Errors of records that only share the fate of their transaction."""

_ADVICE: Final = (
    "give each process an instance of its own, and see that none stands still for longer than "
    "transaction.timeout"
)


class KafkaTransactional(KafkaProducer):
    """Implements `ports.Transactional`; made with what `config.transactional` gives.

    What the client's flags say of a transaction is asked only while nothing fatal is known: later
    they mislead. After two things this producer begins no other transaction. librdkafka lacks the
    client's side of KIP-890, so a request that is late could end the next transaction instead of
    its own; and a record that was refused leaves a gap in the sequence numbers that fails the next.
    """

    def __init__(
        self, properties: Properties, on_error: Callable[[KafkaError], None] = lambda _: None
    ) -> None:
        super().__init__(properties, on_error)
        self._aside = Aside("calls-of-client")
        self._state: Literal["new", "idle", "open"] = "new"
        self._refusal: ClientError | None = None
        """Why a record of the transaction is not stored."""
        self._ending = False
        """Whether the transaction was to be ended, and none was begun since."""
        self._doubt: str | None = None
        """Why another transaction could suffer from what the last one has left behind."""
        self._lost: Mapping[str, int] = {}
        """What the client had lost when the transaction was to be ended: see `Statistics`."""
        self._late: int | None = None
        """How often there were statistics until a transaction had ended that took long to."""

    def take_over(self, timeout: float) -> None:
        """See `ports.Transactional`."""
        self._insist(self._client.init_transactions, time.monotonic() + timeout, ClientFatal)
        self._state = "idle"

    def begin(self) -> None:
        """See `ports.Transactional`."""
        self.poll(0.0)
        if self._late is not None:
            self._look_back(self._late)
        if self._doubt is not None:
            self._fatal = self._fatal or ClientFatal(self._doubt, retriable=True)
        self._require_sound()
        try:
            self._client.begin_transaction()
        except KafkaException as error:
            raise self._failed(reason(error), ClientFatal) from error
        self._state, self._ending, self._refusal = "open", False, None

    def send(self, records: Sequence[Encoded], on_stored: OnStored, on_failed: OnFailed) -> int:
        """See `ports.Producer`."""
        self._require_open()
        try:
            return super().send(records, on_stored, partial(self._note_refusal, on_failed))
        except ClientError as error:
            if error.code != KafkaError._STATE:  # noqa: SLF001 - a public constant
                raise
            self._tell()
            raise TransactionFailed(
                "the transaction has failed" if self._refusal is None else self._refusal.text
            ) from error

    def commit(self, commits: Commits, membership: Membership | None, timeout: float) -> None:
        """See `ports.Transactional`."""
        self._require_open()
        deadline = time.monotonic() + timeout
        self._begin_to_end()
        if commits:
            self._insist(
                partial(self._send_offsets, commits, membership), deadline, TransactionFailed
            )
        self._called(self._client.flush, max(0.0, deadline - time.monotonic()))
        self._insist(self._client.commit_transaction, deadline, TransactionFailed)
        self._state = "idle"
        self._tell()

    def abort(self, timeout: float) -> None:
        """See `ports.Transactional`."""
        if self._state != "open":
            return
        self._begin_to_end()
        self._insist(self._client.abort_transaction, time.monotonic() + timeout, ClientFatal)
        if self._refusal is not None:
            self._doubt = f"a record has left a gap in its sequence: {self._refusal.text}"
        self._state = "idle"
        self._tell()

    def close(self, timeout: float) -> None:
        """See `ports.Transactional`.

        A client in the middle of something is let go of instead: its own `close` would warn.
        """
        if self._closed:
            return
        self._aside.close()
        with suppress(ClientError):
            self.abort(timeout)
        if self._state == "idle":
            super().close(timeout)
            return
        self._closed = True
        with suppress(KafkaException):  # once it is fatal it may refuse even that
            self.drop(0.0)
        self._tell()
        self._let_go()

    def _send_offsets(
        self, commits: Commits, membership: Membership | None, timeout: float
    ) -> None:
        """Send offsets; raises `ClientFatal` where the client never comes back from that.

        Its own time-out does not hold while the group's coordinator is gone: librdkafka's issues
        5456 and 5511. What becomes of the client is left to the thread that is in it.
        """
        send = self._client.send_offsets_to_transaction
        sent = partial(send, committable(commits), membership, timeout)
        try:
            self._aside.call(sent, timeout + OVERTIME)
        except TimeoutError:
            text = "it is not known what became of the transaction: the client does not come back"
            self._fatal = ClientFatal(text, retriable=True, advice=NO_COORDINATOR)
            raise self._fatal.anew() from None

    def _begin_to_end(self) -> None:
        self.poll(0.0)  # what was reported up to now is not about the end
        if not self._ending:
            self._lost = self._statistics.lost()
        self._ending = True

    def _insist(
        self, call: Callable[[float], object], deadline: float, otherwise: type[ClientError]
    ) -> None:
        """Call until there is an answer, or the time is over; `otherwise` is what no flag says."""
        while True:
            self._require_sound()
            began = time.monotonic()
            try:
                call(max(0.001, min(ANSWER_WITHIN, deadline - time.monotonic())))
            except (KafkaException, SystemError) as error:
                problem = reason(error)
                self._tell()
                if self._is_answer(problem):
                    raise self._failed(problem, otherwise) from error
                if time.monotonic() >= deadline:
                    raise self._unanswered(problem) from error
                self._note_doubt(f"an answer was late: {describe(problem)}")
                self.serve(MOMENT)
            else:
                if self._ending and time.monotonic() - began > PROMPT:
                    self.serve(0.0)
                    self._late = self._statistics.updates
                return

    def _look_back(self, updates: int) -> None:
        """Where an answer was late, see from later statistics whether anything was asked twice.

        A request is sent again only once its connection is lost, or the client has given it up.
        """
        self._late = None
        deadline = time.monotonic() + STATISTICS_WITHIN
        while self._statistics.updates == updates and time.monotonic() < deadline:
            self.poll(MOMENT)
        if self._statistics.updates == updates or lost_between(self._lost, self._statistics.lost()):
            self._note_doubt("an answer was late")

    def _is_answer(self, problem: KafkaError) -> bool:
        is_final = problem.fatal() or problem.txn_requires_abort() or not is_retriable(problem)
        return is_final or self._fatal is not None

    def _failed(self, problem: KafkaError, otherwise: type[ClientError]) -> ClientError:
        refusal = self._refusal
        if self._fatal is None and refusal is not None and refusal.code in _FENCED:
            self._fatal = _fenced(refusal.text, refusal.code)
        if self._fatal is None and (problem.fatal() or problem.code() in _FENCED):
            self._fatal = self._failure(problem)
        if self._fatal is None and otherwise is ClientFatal:
            self._fatal = specific(ClientFatal, describe(problem), problem)
        if self._fatal is not None:
            return self._fatal.anew()
        if refusal is None:
            return specific(otherwise, describe(problem), problem)
        return otherwise(
            refusal.text, code=refusal.code, retriable=refusal.retriable, advice=refusal.advice
        )

    def _unanswered(self, problem: KafkaError) -> ClientError:
        if self._state == "new":
            text = describe(problem)
            return ClientError(text, code=problem.code(), retriable=True, advice=NO_COORDINATOR)
        text = f"it is not known what became of the transaction: {describe(problem)}"
        self._fatal = specific(ClientFatal, text, problem)
        return self._fatal.anew()

    def _failure(self, error: KafkaError) -> ClientError:
        if error.code() not in _FENCED:
            return failure(error)
        return _fenced(describe(error), error.code())

    def _on_error(self, error: KafkaError) -> None:
        super()._on_error(error)
        if error.code() in _CUT_OFF:
            self._note_doubt(f"a connection was lost: {describe(error)}")

    def _note_doubt(self, why: str) -> None:
        if self._ending:
            self._doubt = f"as a transaction ended, {why}"

    def _note_refusal(self, on_failed: OnFailed, error: ClientError) -> None:
        if error.code not in _PURGED:
            self._refusal = self._refusal or error
        on_failed(error)

    def _require_sound(self) -> None:
        if self._fatal is not None:
            raise self._fatal.anew()

    def _require_open(self) -> None:
        self._require_sound()
        if self._state != "open":
            raise ClientError("no transaction was begun", advice="begin one first")


def require_right(kafka: KafkaSettings, prefix: str, timeout: float) -> None:
    """Raise `ClientError` where no transactions may be written whose ids begin so.

    Brokers look at rights first, and refuse what may last for `ENDLESS` seconds before anything is
    written; and the id is nobody's, so that even where they take it nobody is shut out.
    """
    properties = transactional(kafka, {}, f"{prefix}{uuid4().hex}", ENDLESS)
    producer = KafkaTransactional(properties)
    try:
        producer.take_over(timeout)
    except ClientError as error:
        if error.code != KafkaError.INVALID_TRANSACTION_TIMEOUT:
            raise
    finally:
        producer.close(0.0)


def _fenced(text: str, code: int | None) -> Fenced:
    return Fenced(text, code=code, advice=_ADVICE)
