"""The client's errors say in our words what happened, whether to try again, and what to do."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from worker.errors import (
    ClientError,
    ClientFatal,
    ConnectionFailed,
    Fenced,
    SendFailed,
    TopicNotFound,
)
from worker.kafka.failures import ADVICE, describe, failure, is_retriable, made, specific

FENCED = KafkaError(KafkaError.FENCED_INSTANCE_ID).str()
HELD = KafkaError(KafkaError.UNRELEASED_INSTANCE_ID).str()
PASSING = [
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
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
]
LASTING = [
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.INVALID_REPLICATION_FACTOR,
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.OFFSET_OUT_OF_RANGE,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_ALREADY_EXISTS,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._AUTHENTICATION,
    KafkaError._PURGE_INFLIGHT,
    KafkaError._PURGE_QUEUE,
    KafkaError._SSL,
    KafkaError._UNKNOWN_TOPIC,
]


def test_an_error_is_described_by_its_name_and_its_text() -> None:
    error = KafkaError(KafkaError._TRANSPORT, "one:9092: connection refused")

    assert describe(error) == "_TRANSPORT: one:9092: connection refused"


@pytest.mark.parametrize("code", PASSING)
def test_an_error_that_passes_is_retriable(code: int) -> None:
    assert is_retriable(KafkaError(code))
    assert failure(KafkaError(code)).retriable


@pytest.mark.parametrize("code", LASTING)
def test_an_error_that_lasts_is_not_retriable(code: int) -> None:
    assert not is_retriable(KafkaError(code))
    assert not failure(KafkaError(code)).retriable


@pytest.mark.parametrize("code", LASTING)
def test_what_the_client_flags_as_retriable_is(code: int) -> None:
    assert is_retriable(KafkaError(code, "planted", retriable=True))


@pytest.mark.parametrize("code", ADVICE)
def test_the_advice_for_a_code_is_in_the_text_of_every_kind_of_error(code: int) -> None:
    error = KafkaError(code, "planted")

    for found in (failure(error), specific(SendFailed, "not sent", error)):
        assert found.advice == ADVICE[code]
        assert str(found) == f"{found.text}; {ADVICE[code]}"
        assert found.code == code


@pytest.mark.parametrize("code", ADVICE)
def test_advice_is_a_clause_that_follows_a_semicolon(code: int) -> None:
    advice = ADVICE[code]

    assert advice[0].islower()
    assert not advice.endswith(".")
    assert "\n" not in advice


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, "grant"),
        (KafkaError.FENCED_INSTANCE_ID, "instance"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "Read on the group"),
        (KafkaError.INVALID_REPLICATION_FACTOR, "brokers"),
        (KafkaError.MSG_SIZE_TOO_LARGE, "producer.max_message_bytes"),
        (KafkaError.NOT_ENOUGH_REPLICAS, "in sync"),
        (KafkaError.OFFSET_OUT_OF_RANGE, "oldest"),
        (KafkaError.SASL_AUTHENTICATION_FAILED, "username and password"),
        (KafkaError.TOPIC_ALREADY_EXISTS, "delete it first"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "Read or Write on the topic"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "make the topic"),
        (KafkaError._ALL_BROKERS_DOWN, "can be reached"),
        (KafkaError._AUTHENTICATION, "username and password"),
        (KafkaError._AUTO_OFFSET_RESET, "oldest"),
        (KafkaError._INVALID_ARG, "check the files and the properties"),
        (KafkaError._MSG_TIMED_OUT, "may duplicate"),
        (KafkaError._PURGE_INFLIGHT, "may duplicate"),
        (KafkaError._PURGE_QUEUE, "another client"),
        (KafkaError._SSL, "host name"),
        (KafkaError._TIMED_OUT, "can be reached"),
        (KafkaError._TRANSPORT, "can be reached"),
        (KafkaError._UNKNOWN_TOPIC, "make the topic"),
    ],
)
def test_the_advice_names_what_can_be_done(code: int, word: str) -> None:
    assert word in ADVICE[code]


@pytest.mark.parametrize(
    "code", [KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED]
)
def test_the_right_that_was_needed_is_named_where_it_is_known(code: int) -> None:
    refused = failure(KafkaError(code), "Create on topic orders")
    other = failure(KafkaError(KafkaError.INVALID_REPLICATION_FACTOR), "Create on topic orders")

    assert refused.advice == "grant this user Create on topic orders"
    assert other.advice == ADVICE[KafkaError.INVALID_REPLICATION_FACTOR]


def test_where_there_is_no_advice_for_a_code_that_of_the_kind_is_given() -> None:
    error = KafkaError(KafkaError.INVALID_REQUEST, "planted")

    assert specific(ConnectionFailed, "no answer", error).advice == ConnectionFailed.advice
    assert specific(TopicNotFound, "no topic", error).advice == TopicNotFound.advice
    assert str(specific(SendFailed, "not sent", error)) == "not sent"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (KafkaError(KafkaError.FENCED_INSTANCE_ID, "planted"), Fenced),
        (KafkaError(KafkaError._FATAL, f"Fatal error: {FENCED}"), Fenced),
        (KafkaError(KafkaError._FATAL, "planted"), ClientFatal),
        (KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "planted", fatal=True), ClientFatal),
        (KafkaError(KafkaError._TRANSPORT), ClientError),
        (KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), ClientError),
    ],
)
def test_an_error_has_the_kind_that_says_whether_the_client_can_go_on(
    error: KafkaError, kind: type[ClientError]
) -> None:
    found = failure(error)

    assert type(found) is kind
    assert found.code == error.code()
    assert found.text == describe(error)


def test_an_instance_that_another_member_has_is_told_by_its_own_code_and_what_to_do() -> None:
    found = failure(KafkaError(KafkaError._FATAL, f"Fatal error: {HELD}"))

    assert type(found) is ClientFatal
    assert found.code == KafkaError.UNRELEASED_INSTANCE_ID
    assert "wait until the session of one that was killed is over" in found.advice


def test_an_error_of_a_kind_has_its_own_text() -> None:
    error = KafkaError(KafkaError._TIMED_OUT, "planted")

    found = specific(ConnectionFailed, "no broker answered", error)

    assert type(found) is ConnectionFailed
    assert (found.text, found.code, found.retriable) == ("no broker answered", error.code(), True)


def test_a_client_that_cannot_be_made_is_one_that_cannot_connect() -> None:
    error = KafkaException(KafkaError(KafkaError._INVALID_ARG, "planted"))

    def refuse() -> None:
        raise error

    with pytest.raises(ConnectionFailed) as caught:
        made(refuse)

    assert caught.value.text == "no client can be made: _INVALID_ARG: planted"
    assert caught.value.code == KafkaError._INVALID_ARG
    assert caught.value.advice == ADVICE[KafkaError._INVALID_ARG]
    assert caught.value.__cause__ is error
    assert made(lambda: 7) == 7
