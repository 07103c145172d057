"""What the other tests here rest on: a record that they write is there, or they fail."""

from __future__ import annotations

import pytest

from tests.system.rig import Kafka, numbered, unique

pytestmark = pytest.mark.kafka


def test_records_that_are_refused_fail_the_test_that_writes_them(kafka: Kafka) -> None:
    topic = unique("refusing")
    kafka.create(topic, partitions=2)

    with pytest.raises(
        AssertionError, match=r"4 records, such as for .*\[2\]: .*UNKNOWN_PARTITION"
    ):
        kafka.produce(topic, numbered(8))


def test_partitions_that_were_added_can_be_written_to_while_the_broker_makes_others(
    kafka: Kafka,
) -> None:
    topic, other = unique("growing"), unique("other")
    kafka.create(topic, partitions=2)
    kafka.create(other, partitions=50)  # a broker learns in turn what the controller has decided

    kafka.grow(topic, 4)
    kafka.produce(topic, numbered(8))

    assert kafka.ends(topic) == [2, 2, 2, 2]
    kafka.delete(other)
