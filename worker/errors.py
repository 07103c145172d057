"""Every error of the worker.

* WorkerError
  - BadConfiguration            exit code 78, carries every Problem
  - BadEnvironment              a variable of the environment cannot work: exit code 78
  - BrokersUnreachable          exit code 69
    + NotLetIn                  the brokers do not let this user in
  - NoWorker                    no worker answers where one was asked: exit code 69
  - CannotListen                the HTTP endpoint's address cannot be had: exit code 78
  - ClientError                 carries Kafka's error code, whether to try again, what to do
    + QueueFull                 the producer's queue is full: poll, then send the same record again
    + CommitFailed
    + TransactionFailed         nothing of this transaction counts: abort it, then begin anew
    + ClientFatal               this client is of no more use: make a new one
    + Fenced                    another process has taken this one's identity: exit code 3
    + TopicsRefused             the cluster refuses to make topics, which it names
    + ConnectionFailed          no broker answered
    + ClientClosed
    + ClientNotInitialized      the client was made before this process was forked
    + ProducerNotEnabled
    + ConsumerNotEnabled
    + AlreadyConsuming
    + NotConsuming
    + InConsumerGroup
    + NotInConsumerGroup
    + SendFailed                a record was not acknowledged
    + ConsumeFailed             the handler raised, or reading cannot go on
    + TopicNotFound
    + InvalidPartition
  - PipelineFailed              a pipeline stopped for good
  - BrokerUnavailable           no real broker can be had on this machine
    + BrokerFailed              a broker of ours did not start or did not stay up

Raised by handlers:
* Reject                        this message is of no use to anybody: straight to the dead letters
* Retry                         this message is to be tried again
* BatchError                    of a batch these messages have failed, and the others are handled
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Self

from worker.types import Delivered, Message, Problem

LONGEST_DELAY: Final = 86_400.0
"""Seconds that a handler may have a message wait before it is tried again."""


class WorkerError(Exception):
    """Base of every error that the worker raises."""


class BadConfiguration(WorkerError):
    """The spec, the handlers or the topics cannot work; `problems` names every place."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class BadEnvironment(WorkerError):
    """A variable of the environment says what cannot be."""


class BrokersUnreachable(WorkerError):
    """No broker answered in time."""


class NotLetIn(BrokersUnreachable):
    """Brokers answered, and refuse this user's credentials."""


class NoWorker(WorkerError):
    """No worker answers where one was asked, or one of another release."""


class CannotListen(WorkerError):
    """The address of the HTTP endpoint is taken, or is not one of this machine."""


class ClientError(WorkerError):
    """The Kafka client reported an error.

    `code` is Kafka's error code (negative: of the client itself), None where no broker was asked;
    `retriable` says whether the same call may succeed later; `advice` says what to do.
    """

    advice: str = ""

    def __init__(
        self,
        text: str,
        *,
        code: int | None = None,
        retriable: bool = False,
        advice: str | None = None,
    ) -> None:
        self.text = text
        self.code = code
        self.retriable = retriable
        self.advice = self.advice if advice is None else advice
        super().__init__(f"{text}; {self.advice}" if self.advice else text)

    def anew(self) -> Self:
        """The same error, to be raised in place of this one, which is kept.

        An error that was raised has the frames of all its callers, and these have what they were
        about: the client, and each message in flight. Who kept it would be garbage in a circle.
        """
        made = type(self).__new__(type(self), *self.args)
        made.__dict__.update(self.__dict__)
        return made


class QueueFull(ClientError):
    """The producer's queue is full: serve deliveries, then send the same record again."""


class CommitFailed(ClientError):
    """Offsets were not committed; their messages may be delivered again."""


class TransactionFailed(ClientError):
    """The transaction can only be aborted; the producer can begin another one then."""


class ClientFatal(ClientError):
    """The client cannot go on; a new one can."""


class Fenced(ClientError):
    """Another process uses the same identity and has taken it over."""

    advice = "give each member of the group an instance of its own"


class TopicsRefused(ClientError):
    """The cluster refuses to make topics; `topics` says why, by topic."""

    def __init__(self, topics: Mapping[str, str]) -> None:
        reasons = "; ".join(f"{topic}: {reason}" for topic, reason in topics.items())
        super().__init__(f"topics were not made: {reasons}")
        self.topics = dict(topics)


class ConnectionFailed(ClientError):
    """No broker answered in time."""

    advice = "check the addresses, and that the brokers run and let this machine in"


class ClientClosed(ClientError):
    """The client was closed."""

    advice = "make a new one"


class ClientNotInitialized(ClientError):
    """The client belongs to the process that this one was forked from."""

    advice = "make a client after the fork, in the process that uses it"


class ProducerNotEnabled(ClientError):
    """The settings say that this client does not send."""

    advice = "set producer.enabled to true"


class ConsumerNotEnabled(ClientError):
    """The settings say that this client does not read."""

    advice = "set consumer.enabled to true"


class AlreadyConsuming(ClientError):
    """The client reads already, and does so once at a time."""

    advice = "call stop_consume() first, or make a second client"


class NotConsuming(ClientError):
    """There is nothing to stop."""

    advice = "call consume() or consume_partition() first"


class InConsumerGroup(ClientError):
    """The client is a member of a group already."""

    advice = "call leave_group() first, or make a second client"


class NotInConsumerGroup(ClientError):
    """The client is in no group."""

    advice = "call join_group() first"


class SendFailed(ClientError):
    """Records were not acknowledged.

    `delivered` and `failed` say by the place in the batch which ones were and which were not; a
    record of a single send is at place 0.
    """

    def __init__(
        self,
        text: str,
        *,
        code: int | None = None,
        retriable: bool = False,
        advice: str | None = None,
        delivered: Mapping[int, Delivered] = MappingProxyType({}),
        failed: Mapping[int, SendFailed] = MappingProxyType({}),
    ) -> None:
        super().__init__(text, code=code, retriable=retriable, advice=advice)
        self.delivered = delivered
        self.failed = failed or {0: self}


class ConsumeFailed(ClientError):
    """A handler raised, which is then the `__cause__`, or reading cannot go on."""


class TopicNotFound(ClientError):
    """The cluster has no such topic, or does not show it to this user."""

    advice = "create_topic() makes it; nothing is ever made by sending to it"


class InvalidPartition(ClientError):
    """The topic has no such partition."""


class PipelineFailed(WorkerError):
    """A pipeline stopped for good."""


class BrokerUnavailable(WorkerError):
    """No real Apache Kafka can be had on this machine."""


class BrokerFailed(BrokerUnavailable):
    """A broker did not start, or did not stay up."""


class Reject(Exception):
    """Raised by a handler: the message can never be handled and goes to the dead letters.

    `reason` is written to the dead letter as text, so it must hold no payload.
    """

    def __init__(self, reason: object) -> None:
        self.reason = str(reason)
        super().__init__(self.reason)


class Retry(Exception):
    """Raised by a handler: try the message again, whatever `retry.on` and `give_up_on` say.

    `delay` is in seconds, up to a day; None leaves it to the pipeline's backoff. It counts as an
    attempt: when all of `retry.attempts` are used up, the message has failed. Raises `ValueError`.
    """

    delay: float | None = None

    def __init__(self, delay: float | None = None) -> None:
        if delay is not None and not 0 <= delay <= LONGEST_DELAY:
            raise ValueError(f"delay={delay!r} is not seconds from 0 to {LONGEST_DELAY:g}")
        super().__init__()
        self.delay = None if delay is None else float(delay)


class BatchError(Exception):
    """Raised by a batch handler: these messages have failed, the others are handled.

    `errors` says why, by the message or by its place in the batch, from 0: each message goes the
    way that its exception would take it alone. Raises `TypeError`.
    """

    def __init__(self, errors: Mapping[int | Message, BaseException]) -> None:
        kinds: list[tuple[object, object]] = list(errors.items())
        for one, error in kinds:
            if not isinstance(one, (int, Message)) or not isinstance(error, BaseException):
                raise TypeError(
                    "BatchError takes exceptions by messages or by their places, not "
                    f"{type(error).__name__} by {type(one).__name__}"
                )
        super().__init__(f"{len(errors)} messages of a batch have failed")
        self.errors = dict(errors)
