"""The client's errors in the worker's words."""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError

from worker.errors import ClientError, ClientFatal, Fenced

_FENCED: Final = KafkaError(KafkaError.FENCED_INSTANCE_ID).str()


def describe(error: KafkaError) -> str:
    """One line that names the error and says what it is about."""
    return f"{error.name()}: {error.str()}"


def failure(error: KafkaError) -> ClientError:
    """`Fenced`, `ClientFatal` or, for all that may pass, `ClientError`.

    A consumer's fatal error comes as `_FATAL` without the flag, its reason in the text only.
    """
    kind = ClientError
    if error.code() == KafkaError.FENCED_INSTANCE_ID or _FENCED in error.str():
        kind = Fenced
    elif error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001 - a public constant
        kind = ClientFatal
    return kind(describe(error))
