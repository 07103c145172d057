"""What every producer does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest

from tests.contract.member import DEADLINE, Members, until
from tests.contract.rig import Layout, Rig, unique
from tests.contract.test_consumer import topic_of
from tests.deliveries import Deliveries
from worker.errors import ClientError, QueueFull
from worker.ports import Producer
from worker.types import Encoded

SMALL: Final = {"max.message.bytes": "2000"}
BATCH: Final = 61
"""Bytes of a batch in front of its records."""


class ByValue:
    """What is told of each record."""

    def __init__(self) -> None:
        self.of: dict[bytes | None, list[object]] = {}

    def to(self, record: Encoded) -> Deliveries:
        deliveries = Deliveries()
        deliveries.errors = self.of.setdefault(record.value, deliveries.errors)
        return deliveries

    @property
    def complete(self) -> bool:
        return all(self.of.values())


def send(producer: Producer, deliveries: ByValue, *records: Encoded) -> None:
    for record in records:
        to = deliveries.to(record)
        producer.send([record], to.stored, to.failed)


def serve_until(producer: Producer, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE} s"
        producer.poll(0.1)


def test_each_record_is_reported_once_and_only_while_polling(rig: Rig) -> None:
    topic, deliveries, producer = topic_of(rig), ByValue(), rig.producer()
    send(producer, deliveries, *(Encoded(topic, b"%d" % n, None) for n in range(50)))
    before = [report for reports in deliveries.of.values() for report in reports]

    serve_until(producer, lambda: deliveries.complete)
    producer.close(10.0)

    assert before == []
    assert list(deliveries.of.values()) == [[None]] * 50


def test_the_records_of_a_call_are_reported_together_when_the_last_is_stored(rig: Rig) -> None:
    topic, producer = topic_of(rig, 4), rig.producer()
    told, deliveries = list[int](), Deliveries()
    records = [Encoded(topic, b"%d" % n, b"%d" % n) for n in range(200)]

    sent = producer.send(records, told.append, deliveries.failed)
    serve_until(producer, lambda: told)
    producer.close(10.0)

    assert sent == 200
    assert (told, deliveries.errors) == ([200], [])


def test_a_call_of_which_a_record_failed_is_never_reported_as_stored(rig: Rig) -> None:
    topic, producer, deliveries = topic_of(rig), rig.producer(), Deliveries()
    records = [Encoded(topic, b"", None, partition=partition) for partition in (0, 0, 7, 0)]

    producer.send(records[:3], deliveries.stored, deliveries.failed)
    producer.send(records[3:], deliveries.stored, deliveries.failed)
    serve_until(producer, lambda: len(deliveries.errors) == 2)
    producer.close(10.0)

    assert sorted("UNKNOWN_PARTITION" in str(error) for error in deliveries.errors) == [False, True]
    assert sorted(error is None for error in deliveries.errors) == [False, True]


def test_closing_reports_what_is_on_its_way_and_is_idempotent(rig: Rig) -> None:
    topic, deliveries, producer = topic_of(rig), ByValue(), rig.producer()
    send(producer, deliveries, *(Encoded(topic, b"%d" % n, None) for n in range(50)))

    producer.close(20.0)
    producer.close(20.0)

    assert list(deliveries.of.values()) == [[None]] * 50


def test_what_cannot_be_delivered_in_time_is_reported_as_failed_on_close(rig: Rig) -> None:
    topic, deliveries, producer = topic_of(rig), ByValue(), rig.stranded_producer()
    send(producer, deliveries, *(Encoded(topic, b"%d" % n, None, partition=0) for n in range(3)))

    producer.close(0.1)

    assert [len(reports) for reports in deliveries.of.values()] == [1, 1, 1]
    assert all(reports[0] is not None for reports in deliveries.of.values())


def test_a_poll_without_deliveries_serves_none(rig: Rig) -> None:
    producer = rig.producer()

    assert producer.poll(0.0) == 0
    producer.close(1.0)


def test_a_record_arrives_as_it_was_sent(rig: Rig, members: Members) -> None:
    topic, deliveries, producer = topic_of(rig, 3), ByValue(), rig.producer()
    headers = [("a", b"1"), ("a", None), ("b", "text")]
    record = Encoded(topic, b"value", b"key", headers, partition=2, timestamp=1_769_860_800_123)

    send(producer, deliveries, record)
    producer.close(20.0)
    member = members.join(unique("group"), topic)
    until(lambda: member.received, member)

    (message,) = member.received
    assert (message.value, message.key, message.partition) == (b"value", b"key", 2)
    assert message.headers == [("a", b"1"), ("a", None), ("b", b"text")]
    assert message.timestamp == 1_769_860_800_123


def test_missing_and_empty_keys_and_values_arrive_as_such(rig: Rig, members: Members) -> None:
    topic, deliveries, producer = topic_of(rig), ByValue(), rig.producer()

    send(producer, deliveries, Encoded(topic, None, b""), Encoded(topic, b"", None))
    producer.close(20.0)
    member = members.join(unique("group"), topic)
    until(lambda: len(member.received) >= 2, member)

    assert [(m.key, m.value) for m in member.received] == [(b"", None), (None, b"")]


def test_records_to_a_partition_keep_their_order(rig: Rig, members: Members) -> None:
    topic, deliveries, producer = topic_of(rig), ByValue(), rig.producer()
    values = [b"%d" % n for n in range(500)]

    send(producer, deliveries, *(Encoded(topic, value, None) for value in values))
    producer.close(20.0)
    member = members.join(unique("group"), topic)
    until(lambda: len(member.received) >= 500, member)

    assert member.values == values


def test_a_key_has_the_partition_that_java_clients_give_it(rig: Rig, members: Members) -> None:
    topic, deliveries, producer = topic_of(rig, 5), ByValue(), rig.producer()
    keys = {b"foobar": 1, b"abc": 2, b"21": 0, b"a-little-bit-long-string": 2, b"": 1}

    send(producer, deliveries, *(Encoded(topic, key, key) for key in keys))
    producer.close(20.0)
    member = members.join(unique("group"), topic)
    until(lambda: len(member.received) >= len(keys), member)

    assert {message.key: message.partition for message in member.received} == keys


def test_a_full_queue_refuses_a_record_until_deliveries_are_served(
    rig: Rig, members: Members
) -> None:
    topic, deliveries, producer = topic_of(rig), ByValue(), rig.producer(queue=2)
    send(producer, deliveries, Encoded(topic, b"1", None), Encoded(topic, b"2", None))
    refused = Encoded(topic, b"3", None)

    with pytest.raises(QueueFull):
        send(producer, deliveries, refused)
    serve_until(producer, lambda: deliveries.of[b"1"])
    send(producer, deliveries, refused)
    producer.close(20.0)
    member = members.join(unique("group"), topic)
    until(lambda: len(member.received) >= 3, member)

    assert member.values == [b"1", b"2", b"3"]
    assert deliveries.of[b"3"] == [None]


def test_a_record_that_the_broker_refuses_leaves_its_neighbours_alone(
    rig: Rig, members: Members
) -> None:
    topic, deliveries, producer = unique("topic"), ByValue(), rig.producer()
    rig.admin().create({topic: Layout(config=SMALL)})
    too_large = Encoded(topic, b"x" * 3000, None)

    for record in (Encoded(topic, b"before", None), too_large, Encoded(topic, b"after", None)):
        send(producer, deliveries, record)
        serve_until(producer, lambda: deliveries.complete)
    producer.close(20.0)
    member = members.join(unique("group"), topic)
    until(lambda: b"after" in member.values, member)

    assert member.values == [b"before", b"after"]
    assert "MSG_SIZE_TOO_LARGE" in str(deliveries.of[too_large.value][0])


def test_a_record_for_a_partition_that_does_not_exist_fails(rig: Rig) -> None:
    topic, deliveries, producer = topic_of(rig), ByValue(), rig.producer()

    send(producer, deliveries, Encoded(topic, b"", None, partition=7))
    serve_until(producer, lambda: deliveries.complete)
    producer.close(1.0)

    assert "UNKNOWN_PARTITION" in str(deliveries.of[b""][0])


def test_header_names_that_kafka_allows_arrive_as_they_are(rig: Rig, members: Members) -> None:
    topic, deliveries, producer = topic_of(rig), ByValue(), rig.producer()
    headers = [("a\nb", b"1"), ("a\tb", b"2"), ("\x7f", b"3"), ("", b"4")]

    send(producer, deliveries, Encoded(topic, b"", None, headers))
    producer.close(20.0)
    member = members.join(unique("group"), topic)
    until(lambda: member.received, member)

    assert member.received[0].headers == headers


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (Encoded("", b"", None, partition=7), "unencodable"),
        (Encoded("", b"", None, partition=2**40), "unencodable"),
        (Encoded("", b"x" * 3000, None), "too_large"),
    ],
)
def test_an_error_that_is_about_the_record_itself_is_told_from_those_that_pass(
    rig: Rig, record: Encoded, reason: str
) -> None:
    topic, deliveries, producer = unique("topic"), Deliveries(), rig.producer()
    errors = deliveries.errors
    rig.admin().create({topic: Layout(config=SMALL)})

    try:
        one = [replace(record, topic=topic)]
        producer.send(one, deliveries.stored, deliveries.failed)
    except ClientError as error:
        errors.append(error)
    serve_until(producer, lambda: errors)
    producer.close(1.0)

    refusal = producer.refusal(errors[0])
    assert refusal is not None
    assert (refusal.reason, refusal.harmless) == (reason, True)


def test_an_error_that_may_pass_is_no_refusal(rig: Rig) -> None:
    deliveries, producer = ByValue(), rig.stranded_producer()

    send(producer, deliveries, Encoded("topic", b"", None, partition=0))
    producer.close(0.1)

    assert producer.refusal(deliveries.of[b""][0]) is None


def test_totals_count_what_was_sent(rig: Rig) -> None:
    topic, deliveries, producer = topic_of(rig), ByValue(), rig.producer()
    send(producer, deliveries, *(Encoded(topic, b"%d" % n, None) for n in range(5)))

    serve_until(producer, lambda: producer.totals().messages_sent >= 5)
    producer.close(1.0)


def errors_of(rig: Rig, config: Mapping[str, str], *records: Encoded, alone: bool) -> list[object]:
    """What is told of records that fail, which are sent together to a new topic."""
    topic, deliveries = unique("topic"), Deliveries()
    rig.admin().create({topic: Layout(config=config)})
    producer = rig.producer(alone=alone)
    sent = [replace(record, topic=topic, partition=0) for record in records]

    assert producer.send(sent, deliveries.stored, deliveries.failed) == len(sent)
    serve_until(producer, lambda: deliveries.errors)
    producer.close(10.0)
    return [error for error in deliveries.errors if error is not None]


def name_of(error: object) -> str:
    """Kafka's name of an error."""
    return next(word for word in NAMES if word in str(error))


NAMES: Final = (
    "_INVALID_DIFFERENT_RECORD",
    "INVALID_RECORD",
    "INVALID_TIMESTAMP",
    "MSG_SIZE_TOO_LARGE",
)


@pytest.mark.parametrize(("alone", "failed"), [(False, 3), (True, 0)])
def test_a_batch_that_is_too_large_is_refused_as_a_whole(
    rig: Rig, failed: int, *, alone: bool
) -> None:
    errors = errors_of(rig, SMALL, *[Encoded("", b"x" * 1000)] * 3, alone=alone)

    assert [name_of(error) for error in errors] == ["MSG_SIZE_TOO_LARGE"] * failed


@pytest.mark.parametrize(
    ("alone", "values", "names"),
    [
        (False, [b"good", b"bad", b"good"], ["INVALID_RECORD"] * 3),
        (True, [b"good", b"bad", b"good"], ["INVALID_RECORD"]),
        (
            False,
            [b"good", b"bad", b"bad"],
            ["INVALID_RECORD", "INVALID_RECORD", "_INVALID_DIFFERENT_RECORD"],
        ),
    ],
)
def test_a_record_without_a_key_is_bad_in_a_compacted_topic_and_spoils_its_batch(
    rig: Rig, values: Sequence[bytes], names: Sequence[str], *, alone: bool
) -> None:
    records = [Encoded("", value, None if value == b"bad" else b"key") for value in values]

    errors = errors_of(rig, {"cleanup.policy": "compact"}, *records, alone=alone)

    assert sorted(map(name_of, errors)) == names


@pytest.mark.parametrize(
    ("record", "overhead"),
    [
        (Encoded("", b"x"), 9),
        (Encoded("", b"x", b"key"), 12),
        (Encoded("", b"x", b"", [("name", b"value"), ("other", None)]), 27),
    ],
)
def test_a_record_may_fill_the_largest_batch_and_no_byte_more(
    rig: Rig, record: Encoded, overhead: int
) -> None:
    fits = replace(record, value=b"x" * (2000 - BATCH - overhead))
    too_large = replace(record, value=b"x" * (2001 - BATCH - overhead))

    errors = errors_of(rig, SMALL, fits, too_large, alone=True)

    assert [name_of(error) for error in errors] == ["MSG_SIZE_TOO_LARGE"]


@pytest.mark.parametrize(
    ("config", "ahead", "names"),
    [
        ({}, timedelta(hours=2), ["INVALID_TIMESTAMP"]),
        ({}, timedelta(minutes=50), []),
        ({}, timedelta(days=-10_000), []),
        ({"message.timestamp.after.max.ms": "60000"}, timedelta(minutes=50), ["INVALID_TIMESTAMP"]),
        ({"message.timestamp.type": "LogAppendTime"}, timedelta(hours=2), []),
    ],
)
def test_a_record_may_not_be_dated_far_ahead(
    rig: Rig, config: Mapping[str, str], ahead: timedelta, names: Sequence[str]
) -> None:
    dated = Encoded("", b"", timestamp=int((time.time() + ahead.total_seconds()) * 1000))

    assert list(map(name_of, errors_of(rig, config, dated, alone=True))) == names


def test_a_header_whose_name_holds_a_nul_cannot_be_sent(rig: Rig) -> None:
    producer, deliveries = rig.producer(), Deliveries()
    fine, flawed = Encoded(topic_of(rig), b""), Encoded(topic_of(rig), b"", headers=[("\0", b"")])

    assert producer.send([fine, flawed], deliveries.stored, deliveries.failed) == 1
    with pytest.raises(ClientError) as raised:
        producer.send([flawed], deliveries.stored, deliveries.failed)
    producer.close(10.0)

    assert producer.refusal(raised.value) is not None
    assert deliveries.errors == [None]


def require_given_up(rig: Rig, producer: Producer, record: Encoded) -> None:
    """A record of this producer fails when its second is over, not before, and is no refusal."""
    deliveries = ByValue()
    send(producer, deliveries, record)
    producer.poll(0.0)
    before = [*deliveries.of[record.value]]

    rig.pass_time(1.0)
    serve_until(producer, lambda: deliveries.complete)
    producer.close(0.1)

    (error,) = deliveries.of[record.value]
    assert before == []
    assert "_MSG_TIMED_OUT" in str(error)
    assert producer.refusal(error) is None


def test_what_no_broker_answers_in_time_has_failed_and_is_no_refusal(rig: Rig) -> None:
    producer = rig.stranded_producer(timeout=1.0)

    require_given_up(rig, producer, Encoded("topic", b"", None, partition=0))


def test_what_is_sent_to_a_topic_that_does_not_exist_fails_when_its_time_is_over(rig: Rig) -> None:
    require_given_up(rig, rig.producer(timeout=1.0), Encoded(unique("topic"), b"", None))


def test_what_is_sent_before_its_topic_is_made_arrives(rig: Rig) -> None:
    topic, deliveries, producer = unique("topic"), ByValue(), rig.producer()
    send(producer, deliveries, Encoded(topic, b"", None))
    producer.poll(0.0)

    rig.admin().create({topic: Layout()})
    serve_until(producer, lambda: deliveries.complete)
    producer.close(0.1)

    assert deliveries.of == {b"": [None]}


def test_what_is_sent_to_a_topic_that_was_deleted_fails_when_its_time_is_over(rig: Rig) -> None:
    topic, deliveries, producer = topic_of(rig), ByValue(), rig.producer(timeout=1.0)
    send(producer, deliveries, Encoded(topic, b"before", None))
    serve_until(producer, lambda: deliveries.complete)

    rig.delete(topic)

    assert deliveries.of[b"before"] == [None]
    require_given_up(rig, producer, Encoded(topic, b"after", None))
