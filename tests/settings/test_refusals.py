"""Which errors a test may have brokers refuse a record with."""

from __future__ import annotations

from confluent_kafka import KafkaError

from worker.settings.refusals import EXAMPLES, NAMES


def test_the_names_are_those_of_the_client() -> None:
    assert {name for name in dir(KafkaError) if name.isupper()} - {"NO_ERROR"} == NAMES


def test_what_is_given_as_an_example_is_legal() -> None:
    assert {*EXAMPLES.split(", ")} <= NAMES
