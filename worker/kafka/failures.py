"""The client's errors in the worker's words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from confluent_kafka import KafkaError, KafkaException

from worker.errors import ClientError, ClientFatal, ConnectionFailed, Fenced
from worker.types import Failure

Kind = TypeVar("Kind", bound=ClientError)
Made = TypeVar("Made")

_FENCED: Final = KafkaError(KafkaError.FENCED_INSTANCE_ID).str()
_HELD: Final = KafkaError(KafkaError.UNRELEASED_INSTANCE_ID).str()

_UNREACHABLE: Final = "see whether the brokers run and can be reached"
_LATE: Final = f"{_UNREACHABLE}, and whether the topic is there; sending again may duplicate"
_UNKNOWN_TOPIC: Final = "make the topic, or grant this user Describe on it"
_TOO_LARGE: Final = (
    "send less, or raise max.message.bytes of the topic and producer.max_message_bytes"
)
_AUTHENTICATION: Final = "check mechanism, username and password"
_REPLICAS: Final = "wait until enough replicas are in sync, or see which brokers are down"
_GONE: Final = "retention has deleted these records; begin at oldest or at a later offset"

NO_COORDINATOR: Final = (
    "see whether the brokers run, and can make their own topics: offsets.topic.replication.factor "
    "and transaction.state.log.replication.factor may ask for more brokers than there are"
)
"""What to do where nobody coordinates a group or a transaction."""

ADVICE: Final = {
    KafkaError.COORDINATOR_NOT_AVAILABLE: NO_COORDINATOR,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "grant this user the operation on the cluster",
    KafkaError.FENCED_INSTANCE_ID: "give each member of the group an instance of its own",
    KafkaError.UNRELEASED_INSTANCE_ID: "another member of the group has this instance: give each "
    "its own, or wait until the session of one that was killed is over",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "grant this user Read on the group",
    KafkaError.INVALID_PRODUCER_ID_MAPPING: "the brokers forget a transactional id that is not "
    "used for transactional.id.expiration.ms; a new producer takes it again",
    KafkaError.INVALID_RECORD: "a compacted topic takes no record without a key",
    KafkaError.INVALID_REPLICATION_FACTOR: "ask for no more replicas than there are brokers",
    KafkaError.INVALID_TIMESTAMP: "message.timestamp.before.max.ms and "
    "message.timestamp.after.max.ms of the topic say which times it takes",
    KafkaError.INVALID_TRANSACTION_TIMEOUT: "lower transaction.timeout, or raise "
    "transaction.max.timeout.ms of the brokers",
    KafkaError.MSG_SIZE_TOO_LARGE: _TOO_LARGE,
    KafkaError.NOT_ENOUGH_REPLICAS: _REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND: _REPLICAS,
    KafkaError.OFFSET_OUT_OF_RANGE: _GONE,
    KafkaError._INVALID_ARG: "check the files and the properties that it names",  # noqa: SLF001
    KafkaError.SASL_AUTHENTICATION_FAILED: _AUTHENTICATION,
    KafkaError.TOPIC_ALREADY_EXISTS: "use it as it is, or delete it first",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "grant this user Read or Write on the topic",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "grant this user Write and Describe on the "
    "transactional id",
    KafkaError.UNKNOWN_TOPIC_OR_PART: _UNKNOWN_TOPIC,
    KafkaError._ALL_BROKERS_DOWN: _UNREACHABLE,  # noqa: SLF001 - public constants
    KafkaError._AUTHENTICATION: _AUTHENTICATION,  # noqa: SLF001
    KafkaError._AUTO_OFFSET_RESET: _GONE,  # noqa: SLF001
    KafkaError._MSG_TIMED_OUT: _LATE,  # noqa: SLF001
    KafkaError._PURGE_QUEUE: "send it again with another client",  # noqa: SLF001
    KafkaError._PURGE_INFLIGHT: "it may have arrived; sending again may duplicate",  # noqa: SLF001
    KafkaError._SSL: (  # noqa: SLF001
        "check ca, certificate and key, the host name in the broker's certificate and its dates"
    ),
    KafkaError._TIMED_OUT: _UNREACHABLE,  # noqa: SLF001
    KafkaError._TRANSPORT: _UNREACHABLE,  # noqa: SLF001
    KafkaError._UNKNOWN_TOPIC: _UNKNOWN_TOPIC,  # noqa: SLF001
}
"""What to do about an error, by its code."""

_DENIED: Final = {
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
}

_PASSING: Final = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_CONTROLLER,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_ENOUGH_REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 - public constants
    KafkaError._MSG_TIMED_OUT,  # noqa: SLF001
    KafkaError._TIMED_OUT,  # noqa: SLF001
    KafkaError._TRANSPORT,  # noqa: SLF001
}
"""Errors after which the same call may succeed, although the client does not flag them so."""

_REFUSALS: Final = {
    KafkaError.INVALID_RECORD: "unencodable",
    KafkaError.INVALID_TIMESTAMP: "unencodable",
    KafkaError.MSG_SIZE_TOO_LARGE: "too_large",
    KafkaError._INVALID_ARG: "unencodable",  # noqa: SLF001 - public constants
    KafkaError._UNKNOWN_PARTITION: "unencodable",  # noqa: SLF001
}
"""Errors that are about a record itself, and the reason that its message is given up for."""


def describe(error: KafkaError) -> str:
    """One line that names the error and says what it is about."""
    return f"{error.name()}: {error.str()}"


def is_retriable(error: KafkaError) -> bool:
    """Whether the same call may succeed later."""
    return error.retriable() or error.code() in _PASSING


def failure(error: KafkaError, right: str = "") -> ClientError:
    """`Fenced`, `ClientFatal` or, for all that may pass, `ClientError`.

    `right` is what was needed, such as `Read on topic orders`, for the advice.

    A consumer's fatal error comes as `_FATAL` without the flag, its reason in the text only.
    """
    if error.code() == KafkaError.FENCED_INSTANCE_ID or _FENCED in error.str():
        return specific(Fenced, describe(error), error)
    if _HELD in error.str():
        return specific(ClientFatal, describe(error), KafkaError(KafkaError.UNRELEASED_INSTANCE_ID))
    if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001 - a public constant
        return specific(ClientFatal, describe(error), error)
    return specific(ClientError, describe(error), error, right)


def undelivered(topic: str | None, error: KafkaError) -> ClientError:
    """Why a record was not delivered to a topic."""
    text = f"cannot deliver to {topic}: {describe(error)}"
    return specific(ClientError, text, error, f"Write on topic {topic}")


def reason(error: KafkaException | SystemError) -> KafkaError:
    """What the client says; the error lets go of where it was raised, and while handling what.

    While it raises a fatal error it calls back, and what is called makes a `SystemError` of it.
    Before Python 3.12 such an error stays for good, since `cfl_exception_restore` of the client
    keeps a reference; and frames, be it of another error that was being handled, would keep the
    client, with its threads and statistics.
    """
    cause = error.__cause__ if isinstance(error, SystemError) else error
    if not isinstance(cause, KafkaException):
        raise error
    for one in (error, cause):
        one.__traceback__ = one.__context__ = one.__cause__ = None
    problem: KafkaError = cause.args[0]
    return problem


def made(make: Callable[[], Made]) -> Made:
    """What `make` makes; raises `ConnectionFailed` where librdkafka refuses to make a client."""
    try:
        return make()
    except KafkaException as error:
        problem = error.args[0]
        text = f"no client can be made: {describe(problem)}"
        raise specific(ConnectionFailed, text, problem) from error


def unanswered(brokers: Sequence[str], reason: KafkaError) -> ConnectionFailed:
    """None of these brokers has answered, for this reason."""
    text = f"no broker of {', '.join(brokers)} answered: {describe(reason)}"
    return specific(ConnectionFailed, text, reason)


def specific(kind: type[Kind], text: str, error: KafkaError, right: str = "") -> Kind:
    """An error of this kind, with the code of the client's error and the advice for it.

    `right` is what was needed, as in `failure`.
    """
    is_denied = bool(right) and error.code() in _DENIED
    return kind(
        text,
        code=error.code(),
        retriable=is_retriable(error),
        advice=f"grant this user {right}" if is_denied else ADVICE.get(error.code(), kind.advice),
    )


def refusal(error: object) -> Failure | None:
    """See `ports.Producer`."""
    if not isinstance(error, ClientError) or error.code is None:
        return None
    reason = _REFUSALS.get(error.code)
    return None if reason is None else Failure(reason, text=error.text, harmless=True)
