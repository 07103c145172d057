"""Settings become librdkafka properties."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Consumer, Producer

from worker.kafka import config
from worker.settings import KafkaSettings, Pipeline

PIPELINE = {"from": "flights", "handler": "delays"}


def kafka(**keys: Any) -> KafkaSettings:
    return KafkaSettings.model_validate({"brokers": "one:9092,two:9092", **keys})


def consumer(**keys: Any) -> config.Properties:
    return config.consumer(kafka(), "g", Pipeline.model_validate({**PIPELINE, **keys}))


def test_a_consumer_decides_itself_about_offsets() -> None:
    properties = consumer()

    assert properties["auto.offset.reset"] == "error"
    assert properties["enable.auto.commit"] is False
    assert properties["enable.auto.offset.store"] is False


def test_a_consumer_fetches_without_the_default_backoff_and_within_bounds() -> None:
    properties = consumer()

    assert properties["fetch.queue.backoff.ms"] == 10
    assert properties["queued.min.messages"] == 20_000
    assert properties["queued.max.messages.kbytes"] == 16 * 1024


def test_a_consumer_reads_committed_records_unless_told_otherwise() -> None:
    assert consumer()["isolation.level"] == "read_committed"
    assert consumer(isolation="read_uncommitted")["isolation.level"] == "read_uncommitted"


def test_an_instance_makes_a_static_member() -> None:
    assert "group.instance.id" not in consumer()
    assert consumer(instance="pod-3")["group.instance.id"] == "g.pod-3.0"


def test_the_session_is_configured_in_milliseconds() -> None:
    settings = kafka(group={"session_timeout": "6s", "heartbeat": "500ms"})

    properties = config.consumer(settings, "g", Pipeline.model_validate(PIPELINE))

    assert properties["session.timeout.ms"] == 6000
    assert properties["heartbeat.interval.ms"] == 500


def test_a_producer_is_idempotent_and_waits_for_all_replicas() -> None:
    properties = config.producer(kafka(), {})

    assert properties["enable.idempotence"] is True
    assert properties["acks"] == "all"
    assert properties["partitioner"] == "murmur2_random"


def test_no_batch_grows_beyond_the_smallest_limit_of_the_topics() -> None:
    properties = config.producer(kafka(), {"small": 5_000, "large": 8_000_000})

    assert properties["batch.size"] == 5_000
    assert properties["message.max.bytes"] == 8_000_000


def test_limits_beyond_what_the_client_takes_are_cut_to_it() -> None:
    assert config.producer(kafka(), {"t": 10})["message.max.bytes"] == 1_000
    assert config.producer(kafka(), {"t": 2**31 - 1})["message.max.bytes"] == 1_000_000_000


def test_security_is_passed_on_under_the_names_of_the_client() -> None:
    security = {
        "protocol": "SASL_SSL",
        "mechanism": "SCRAM-SHA-512",
        "username": "flights",
        "password": "canary",
        "ca": "ca.pem",
        "certificate": "client.pem",
        "key": "client.key",
        "key_password": "canary",
    }

    properties = config.common(kafka(security=security))

    assert properties["security.protocol"] == "SASL_SSL"
    assert properties["sasl.mechanism"] == "SCRAM-SHA-512"
    assert properties["sasl.username"] == "flights"
    assert properties["sasl.password"] == "canary"
    assert properties["ssl.ca.location"] == "ca.pem"
    assert properties["ssl.certificate.location"] == "client.pem"
    assert properties["ssl.key.location"] == "client.key"
    assert properties["ssl.key.password"] == "canary"


def test_shown_properties_hold_no_secret_and_no_callback() -> None:
    properties: config.Properties = {
        "bootstrap.servers": "one:9092",
        "sasl.username": "canary",
        "sasl.password": "canary",
        "ssl.key.password": "canary",
        "ssl.key.pem": "canary",
        "error_cb": print,
    }

    shown = config.redacted(properties)

    assert "canary" not in shown.values()
    assert "error_cb" not in shown
    assert shown["bootstrap.servers"] == "one:9092"
    assert properties["sasl.password"] == "canary"


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_the_client_takes_every_property(compression: str) -> None:
    settings = kafka(producer={"compression": compression})
    pipeline = Pipeline.model_validate({**PIPELINE, "instance": "one"})
    quiet = {"log_level": 0, "error_cb": lambda _error: None}

    Consumer(config.consumer(settings, "g", pipeline) | quiet).close()
    Producer(config.producer(settings, {"t": 5_000}) | quiet).close()
