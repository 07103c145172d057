"""Settings become librdkafka properties."""

from __future__ import annotations

import logging
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


def test_each_of_several_processes_is_a_static_member_of_its_own() -> None:
    pipeline = Pipeline.model_validate({**PIPELINE, "instance": "pod-3"})

    properties = config.consumer(kafka(), "g", pipeline, process=2)

    assert properties["group.instance.id"] == "g.pod-3.2"


def test_a_producer_of_transactions_is_known_by_its_group_and_place() -> None:
    identity = config.identity("g", "pod-3", 2)

    properties = config.transactional(kafka(), {}, identity, 30.0)

    assert properties["transactional.id"] == "g.pod-3.2"
    assert properties["transaction.timeout.ms"] == 30_000
    assert (properties["acks"], properties["enable.idempotence"]) == ("all", True)


@pytest.mark.parametrize("timeout", [1.0, 30.0, 900.0])
def test_records_and_requests_of_a_transaction_fail_before_its_time_is_over(timeout: float) -> None:
    slow = kafka(
        producer={"delivery_timeout": "5m", "retries": 7},
        network={"read_timeout": "20s", "write_timeout": "20s"},
    )

    properties = config.transactional(slow, {}, "identity", timeout)

    Producer(properties)
    assert properties["delivery.timeout.ms"] <= properties["transaction.timeout.ms"] / 2
    assert properties["socket.timeout.ms"] <= properties["transaction.timeout.ms"]


def test_topics_of_kafka_itself_are_hidden_from_a_pipeline_with_a_pattern_only() -> None:
    assert "topic.blacklist" not in consumer()
    assert consumer(**{"from": ["flights", "^eu-.*"]})["topic.blacklist"] == "^__"


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


# --- each setting is its property ---


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, {"bootstrap.servers": "one:9092,two:9092", "client.id": "stream-worker"}),
        ({"client_id": "a"}, {"client.id": "a"}),
        ({}, {"security.protocol": "PLAINTEXT"}),
        ({"network": {"dial_timeout": "4s"}}, {"socket.connection.setup.timeout.ms": 4_000}),
        (
            {"network": {"read_timeout": "4s", "write_timeout": "4s"}},
            {"socket.timeout.ms": 4_000},
        ),
        ({}, {"socket.keepalive.enable": True}),
        ({"network": {"keep_alive": False}}, {"socket.keepalive.enable": False}),
        ({"metadata": {"refresh": "1m"}}, {"topic.metadata.refresh.interval.ms": 60_000}),
        ({}, {"topic.metadata.refresh.sparse": True}),
        ({"metadata": {"full": True}}, {"topic.metadata.refresh.sparse": False}),
        ({"librdkafka": {"client.rack": "eu-1a"}}, {"client.rack": "eu-1a"}),
    ],
)
def test_a_setting_for_all_clients_is_a_property_of_each(
    keys: dict[str, Any], expected: config.Properties
) -> None:
    settings = kafka(**keys)

    for properties in (
        config.common(settings),
        config.member(settings, "g", "read_committed"),
        config.producer(settings, {}),
    ):
        assert properties.items() >= expected.items()


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"acks": "all"}, {"acks": "all"}),
        ({"acks": "local", "idempotent": False}, {"acks": "1", "enable.idempotence": False}),
        ({"acks": "none", "idempotent": False}, {"acks": "0", "enable.idempotence": False}),
        ({}, {"compression.type": "none"}),
        (
            {"compression": "zstd", "compression_level": 11},
            {"compression.type": "zstd", "compression.level": 11},
        ),
        ({"compression": "gzip", "compression_level": 0}, {"compression.level": 0}),
        ({"linger": "1.5ms"}, {"linger.ms": 1.5}),
        ({"batch_messages": 7}, {"batch.num.messages": 7}),
        ({"max_message_bytes": "2MiB"}, {"message.max.bytes": 2 * 1024**2}),
        ({"retries": 5}, {"retries": 5}),
        ({"retries": 0, "idempotent": False}, {"retries": 0}),
        ({"retry_backoff": "2s"}, {"retry.backoff.ms": 2_000}),
        ({"delivery_timeout": "1m"}, {"delivery.timeout.ms": 60_000}),
        ({"partitioner": "fnv1a"}, {"partitioner": "fnv1a"}),
    ],
)
def test_a_setting_of_a_producer_is_its_property(
    keys: dict[str, Any], expected: config.Properties
) -> None:
    properties = config.producer(kafka(producer=keys), {})

    assert properties.items() >= expected.items()


def test_a_request_may_take_as_long_as_the_network_says() -> None:
    properties = config.producer(kafka(network={"request_timeout": "3s"}), {})

    assert properties["request.timeout.ms"] == 3_000


def test_what_a_producer_is_not_told_is_left_to_the_client() -> None:
    properties = config.producer(kafka(), {})

    assert "retries" not in properties
    assert "compression.level" not in properties
    assert properties["message.max.bytes"] == 1_048_588
    assert properties["batch.size"] == 1_000_000


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, {"fetch.wait.max.ms": 250, "fetch.min.bytes": 1, "fetch.max.bytes": 16 * 1024**2}),
        ({"max_wait": "1s"}, {"fetch.wait.max.ms": 1_000}),
        ({"fetch_min": "1KiB"}, {"fetch.min.bytes": 1_024}),
        ({}, {"fetch.message.max.bytes": 1024**2}),
        ({"fetch_max": "2MB"}, {"fetch.max.bytes": 2_000_000, "fetch.message.max.bytes": 1024**2}),
        (
            {"fetch_max": "1MB"},
            {"fetch.max.bytes": 1_000_000, "fetch.message.max.bytes": 1_000_000},
        ),
    ],
)
def test_a_setting_of_a_consumer_is_its_property(
    keys: dict[str, Any], expected: config.Properties
) -> None:
    properties = config.member(kafka(consumer=keys), "g", "read_committed")

    assert properties.items() >= expected.items()


@pytest.mark.parametrize(
    ("rebalance", "assignor"),
    [("sticky", "cooperative-sticky"), ("range", "range"), ("roundrobin", "roundrobin")],
)
def test_a_member_assigns_in_the_classic_protocol(rebalance: str, assignor: str) -> None:
    properties = config.member(kafka(group={"rebalance": rebalance}), "g", "read_committed")

    assert properties["group.protocol"] == "classic"
    assert properties["partition.assignment.strategy"] == assignor
    assert properties["session.timeout.ms"] == 10_000
    assert properties["heartbeat.interval.ms"] == 3_000
    assert "group.remote.assignor" not in properties


@pytest.mark.parametrize(("rebalance", "assignor"), [("sticky", "uniform"), ("range", "range")])
def test_the_broker_assigns_and_keeps_sessions_in_the_protocol_consumer(
    rebalance: str, assignor: str
) -> None:
    settings = kafka(group={"protocol": "consumer", "rebalance": rebalance})

    properties = config.member(settings, "g", "read_committed")

    assert properties["group.protocol"] == "consumer"
    assert properties["group.remote.assignor"] == assignor
    assert "partition.assignment.strategy" not in properties
    assert "session.timeout.ms" not in properties
    assert "heartbeat.interval.ms" not in properties


def test_a_member_has_the_group_the_isolation_and_the_instance_that_it_is_given() -> None:
    properties = config.member(kafka(), "delays", "read_uncommitted", "pod-1")

    assert properties["group.id"] == "delays"
    assert properties["isolation.level"] == "read_uncommitted"
    assert properties["group.instance.id"] == "pod-1"
    assert "group.instance.id" not in config.member(kafka(), "delays", "read_committed")


def test_tokens_come_from_the_server_that_the_settings_name() -> None:
    oauth = {
        "endpoint": "https://tokens/a",
        "client_id": "c",
        "client_secret": "canary",
        "scope": "kafka",
        "ca": "ca.pem",
    }
    security = {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER", "oauth": oauth}

    properties = config.common(kafka(security=security))

    assert properties["sasl.mechanism"] == "OAUTHBEARER"
    assert properties["sasl.oauthbearer.method"] == "oidc"
    assert properties["sasl.oauthbearer.token.endpoint.url"] == "https://tokens/a"
    assert properties["sasl.oauthbearer.client.id"] == "c"
    assert properties["sasl.oauthbearer.client.secret"] == "canary"
    assert properties["sasl.oauthbearer.scope"] == "kafka"
    assert properties["https.ca.location"] == "ca.pem"


def test_what_security_is_not_told_is_no_property() -> None:
    names = [name for name in config.common(kafka()) if "ssl" in name or "sasl" in name]

    assert names == []


def test_brokers_are_checked_unless_that_is_switched_off() -> None:
    checked = config.common(kafka(security={"protocol": "SSL"}))
    unchecked = config.common(kafka(security={"protocol": "SSL", "skip_verify": True}))

    assert "enable.ssl.certificate.verification" not in checked
    assert unchecked["enable.ssl.certificate.verification"] is False


# --- the clients take every legal combination ---

QUIET = logging.getLogger("tests.config")
QUIET.setLevel(logging.CRITICAL)

USER = {"mechanism": "PLAIN", "username": "u", "password": "p"}
OAUTH = {"endpoint": "http://127.0.0.1:1/", "client_id": "c", "client_secret": "s", "scope": "a"}


def made(properties: config.Properties) -> None:
    """Make a client; raises what it has against the properties."""
    kind = Consumer if "group.id" in properties else Producer
    kind(properties | {"error_cb": lambda _error: None}, logger=QUIET).close()


@pytest.mark.parametrize("acks", ["idempotent", "all", "local", "none"])
@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize(
    "partitioner",
    [
        *("murmur2_random", "murmur2", "consistent_random", "consistent"),
        *("fnv1a_random", "fnv1a", "random"),
    ],
)
def test_a_producer_takes_every_combination(acks: str, compression: str, partitioner: str) -> None:
    promise = {"acks": "all"} if acks == "idempotent" else {"acks": acks, "idempotent": False}
    settings = kafka(
        producer={**promise, "compression": compression, "partitioner": partitioner},
        brokers="127.0.0.1:1",
    )

    made(config.producer(settings, {}))
    made(config.producer(settings, {"t": 5_000}))


@pytest.mark.parametrize(
    ("compression", "level"),
    [("gzip", 0), ("gzip", 9), ("lz4", 0), ("lz4", 12), ("zstd", 1), ("zstd", 12)],
)
def test_a_producer_takes_every_level(compression: str, level: int) -> None:
    keys = {"compression": compression, "compression_level": level, "retries": 7}

    made(config.producer(kafka(producer=keys, brokers="127.0.0.1:1"), {}))


@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
@pytest.mark.parametrize("instance", [None, "pod-1"])
@pytest.mark.parametrize(
    ("protocol", "rebalance"),
    [
        *(("classic", "sticky"), ("classic", "range"), ("classic", "roundrobin")),
        *(("consumer", "sticky"), ("consumer", "range")),
    ],
)
def test_a_consumer_takes_every_combination(
    protocol: str, rebalance: str, instance: str | None, isolation: str
) -> None:
    group = {"protocol": protocol, "rebalance": rebalance}

    made(config.member(kafka(group=group, brokers="127.0.0.1:1"), "g", isolation, instance))


@pytest.mark.parametrize(
    "security",
    [
        {},
        {"protocol": "SSL"},
        {"protocol": "SSL", "skip_verify": True},
        *(
            {"protocol": protocol, **USER, "mechanism": mechanism}
            for protocol in ("SASL_PLAINTEXT", "SASL_SSL")
            for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
        ),
        {"protocol": "SASL_PLAINTEXT", "mechanism": "OAUTHBEARER", "oauth": OAUTH},
        {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER", "oauth": OAUTH},
    ],
)
def test_the_clients_take_every_protocol(security: dict[str, Any]) -> None:
    settings = kafka(security=security, brokers="127.0.0.1:1")

    made(config.member(settings, "g", "read_committed"))
    made(config.producer(settings, {}))


@pytest.mark.parametrize(
    "keys",
    [
        {"network": {"dial_timeout": 1, "request_timeout": 0.001}},
        {"network": {"dial_timeout": 2_147_483, "request_timeout": 900}},
        {"network": {"read_timeout": 1.25, "write_timeout": 1.25, "keep_alive": False}},
        {"network": {"read_timeout": 300, "write_timeout": 300}, "consumer": {"max_wait": 299}},
        {"metadata": {"refresh": 0.01, "full": True}},
        {"metadata": {"refresh": 3600}},
        {"producer": {"linger": 0, "batch_messages": 1, "retry_backoff": 0.001}},
        {"producer": {"linger": 900, "delivery_timeout": 901, "batch_messages": 1_000_000}},
        {"producer": {"linger": 0.099, "delivery_timeout": 0.1}},
        {"producer": {"delivery_timeout": 2_147_483, "retries": 2_147_483_647}},
        {"producer": {"retry_backoff": 300, "max_message_bytes": 1_000}},
        {"producer": {"max_message_bytes": 1_000_000_000}},
        {"consumer": {"max_wait": 0, "fetch_min": 1, "fetch_max": 1_000_000}},
        {"consumer": {"fetch_min": 100_000_000, "fetch_max": 2_000_000_000}},
        {"group": {"session_timeout": 0.002, "heartbeat": 0.001}},
        {"group": {"session_timeout": 300, "heartbeat": 150}},
        {
            "group": {"session_timeout": 3600, "heartbeat": 1800},
            "librdkafka": {"max.poll.interval.ms": 3_600_000},
        },
    ],
)
def test_the_clients_take_every_setting_at_its_bounds(keys: dict[str, Any]) -> None:
    settings = kafka(brokers="127.0.0.1:1", **keys)

    made(config.member(settings, "g", "read_committed"))
    made(config.producer(settings, {}))


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_the_client_takes_every_property_of_a_pipeline(compression: str) -> None:
    settings = kafka(producer={"compression": compression})
    pipeline = Pipeline.model_validate({**PIPELINE, "instance": "one"})

    made(config.consumer(settings, "g", pipeline))
    made(config.producer(settings, {"t": 5_000}))


# --- warnings ---


def test_nothing_is_warned_of_on_this_machine_and_with_encryption() -> None:
    assert config.warnings(kafka(brokers="localhost:9092,127.0.0.1:9092,[::1]:9092")) == []
    assert config.warnings(kafka(security={"protocol": "SSL"})) == []
    assert config.warnings(kafka(security={"protocol": "SASL_SSL", **USER})) == []


@pytest.mark.parametrize("security", [{}, {"protocol": "SASL_PLAINTEXT", **USER}])
def test_records_that_leave_the_machine_readably_are_warned_of(security: dict[str, Any]) -> None:
    settings = kafka(brokers="localhost:9092,one:9092,127.0.0.1.example.com:1", security=security)

    (warning,) = config.warnings(settings)

    assert warning.startswith("records go unencrypted to one:9092, 127.0.0.1.example.com:1; use")


@pytest.mark.parametrize("broker", ["localhost:9092", "one:9092"])
def test_brokers_that_are_not_checked_are_warned_of_everywhere(broker: str) -> None:
    settings = kafka(brokers=broker, security={"protocol": "SASL_SSL", **USER, "skip_verify": True})

    (warning,) = config.warnings(settings)

    assert warning.startswith("kafka.security.skip_verify is on: whoever answers is taken for a")
    assert "`ca`" in warning
