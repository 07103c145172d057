"""Dead letters of five kinds are read into one value."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.flow.attempts import Tried
from worker.flow.deadletter import Origin, dead_letter
from worker.flow.later import retry_record
from worker.flow.letters import read
from worker.settings import DeadLetterSettings
from worker.types import Failure, Headers, Message


def letter(headers: Headers) -> Message:
    return Message.of(b"payload", topic="dlq", partition=2, offset=9, headers=headers)


OURS = dead_letter(
    Message.of(
        b"payload",
        topic="flights",
        partition=3,
        offset=42,
        headers=[("dlq.redrives", b"2")],
        timestamp=1_000,
    ),
    Failure("handler_error", "ValueError", "no such airport"),
    Origin("flights.delays", "delays", "delay"),
    DeadLetterSettings(default="dlq", message=True),
    topic="dlq",
    limit=10_000,
    tried=Tried(1, 5_000),
).headers

SPRING: Headers = [
    ("source", b"radar"),
    ("kafka_dlt-original-topic", b"orders"),
    ("kafka_dlt-original-partition", b"\x00\x00\x00\x03"),
    ("kafka_dlt-original-offset", b"\x00\x00\x00\x00\x00\x00\x01\x02"),
    ("kafka_dlt-original-timestamp", b"\x00\x00\x00\x00\x00\x00\x03\xe8"),
    ("kafka_dlt-original-timestamp-type", b"CreateTime"),
    ("kafka_dlt-original-consumer-group", b"billing"),
    ("kafka_dlt-exception-fqcn", b"org.springframework.kafka.ListenerExecutionFailedException"),
    ("kafka_dlt-exception-cause-fqcn", b"java.lang.IllegalStateException"),
    ("kafka_dlt-exception-message", b"no stock"),
    ("retry_topic-attempts", b"\x00\x00\x00\x04"),
]

CONNECT: Headers = [
    ("__connect.errors.topic", b"orders"),
    ("__connect.errors.partition", b"3"),
    ("__connect.errors.offset", b"258"),
    ("__connect.errors.connector.name", b"warehouse"),
    ("__connect.errors.task.id", b"0"),
    ("__connect.errors.stage", b"VALUE_CONVERTER"),
    ("__connect.errors.class.name", b"org.apache.kafka.connect.json.JsonConverter"),
    ("__connect.errors.exception.class.name", b"org.apache.kafka.connect.errors.DataException"),
    ("__connect.errors.exception.message", b"no JSON"),
]

STREAMS: Headers = [
    ("__streams.errors.exception", b"java.lang.ArithmeticException"),
    ("__streams.errors.message", b"/ by zero"),
    ("__streams.errors.topic", b"orders"),
    ("__streams.errors.partition", b"3"),
    ("__streams.errors.offset", b"258"),
]

KARAFKA: Headers = [
    ("source_topic", b"orders"),
    ("source_partition", b"3"),
    ("source_offset", b"258"),
    ("source_consumer_group", b"billing"),
    ("source_attempts", b"4"),
]


def test_one_of_ours_says_all_that_is_known() -> None:
    found = read(letter(OURS))

    assert found.writer == "stream-worker"
    assert (found.topic, found.partition, found.offset) == ("flights", 3, 42)
    assert (found.timestamp, found.first_failure) == (1_000, 5_000)
    assert (found.group, found.handler, found.attempts) == ("flights.delays", "delay", 1)
    assert (found.reason, found.error, found.text) == (
        "handler_error",
        "ValueError",
        "no such airport",
    )
    assert (found.redrives, found.truncated) == (2, None)
    assert found.place == (2, 9)


def test_one_that_went_through_a_retry_topic_says_the_same_with_attempts_in_all() -> None:
    failure = Failure("timeout", "TimeoutError")
    original = Message.of(b"payload", topic="flights", partition=3, offset=42, timestamp=1_000)
    later = retry_record(
        original, "g.retry.0", 9, failure=failure, tried=Tried(2, 5_000), lane=b"l"
    )
    record = dead_letter(
        Message.of(later.value, topic=later.topic, partition=3, offset=7, headers=later.headers),
        Failure("handler_error", "ValueError"),
        Origin("g", "delays", "delay"),
        DeadLetterSettings(default="dlq"),
        topic="dlq",
        limit=10_000,
        tried=Tried(1, 70_000),
    )

    found = read(letter(record.headers))

    assert found.writer == "stream-worker"
    assert (found.topic, found.partition, found.offset) == ("flights", 3, 42)
    assert (found.timestamp, found.first_failure, found.attempts) == (1_000, 5_000, 3)
    assert (found.reason, found.error) == ("handler_error", "ValueError")


def test_numbers_of_spring_are_binary_and_the_cause_is_the_error() -> None:
    found = read(letter(SPRING))

    assert found.writer == "spring"
    assert (found.topic, found.partition, found.offset) == ("orders", 3, 258)
    assert (found.timestamp, found.group, found.attempts) == (1_000, "billing", 4)
    assert (found.error, found.text) == ("java.lang.IllegalStateException", "no stock")


def test_without_a_cause_the_exception_of_spring_is_the_error() -> None:
    found = read(letter([one for one in SPRING if "cause" not in one[0]]))

    assert found.error == "org.springframework.kafka.ListenerExecutionFailedException"


def test_one_of_connect_has_the_stage_as_its_reason() -> None:
    found = read(letter(CONNECT))

    assert found.writer == "connect"
    assert (found.topic, found.partition, found.offset) == ("orders", 3, 258)
    assert (found.handler, found.reason) == ("warehouse", "VALUE_CONVERTER")
    assert found.error == "org.apache.kafka.connect.errors.DataException"
    assert found.text == "no JSON"


def test_one_of_streams_says_where_it_was_and_what_failed() -> None:
    found = read(letter(STREAMS))

    assert found.writer == "streams"
    assert (found.topic, found.partition, found.offset) == ("orders", 3, 258)
    assert (found.error, found.text) == ("java.lang.ArithmeticException", "/ by zero")


def test_one_of_karafka_says_where_it_was() -> None:
    found = read(letter(KARAFKA))

    assert found.writer == "karafka"
    assert (found.topic, found.partition, found.offset) == ("orders", 3, 258)
    assert (found.group, found.attempts) == ("billing", 4)


def test_a_record_without_any_of_these_headers_is_a_dead_letter_all_the_same() -> None:
    found = read(letter([("source", b"radar")]))

    assert (found.writer, found.topic, found.reason, found.redrives) == ("unknown", None, None, 0)


def test_of_two_who_have_written_headers_the_last_one_counts() -> None:
    assert read(letter([*OURS, *SPRING])).writer == "spring"
    assert read(letter([*SPRING, *OURS])).writer == "stream-worker"


def test_redrives_are_counted_whoever_has_written_the_dead_letter() -> None:
    assert read(letter([*SPRING, ("dlq.redrives", b"2")])).redrives == 2
    assert read(letter([*SPRING, ("dlq.redrives", b"2")])).writer == "spring"


@given(st.lists(st.tuples(st.sampled_from([*dict([*OURS, *SPRING, *STREAMS])]), st.binary())))
def test_whatever_headers_hold_they_can_be_read(headers: list[tuple[str, bytes]]) -> None:
    assert read(letter(headers)).redrives >= 0
