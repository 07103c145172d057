"""Which properties of librdkafka may be passed through: all of them work, and no others."""

from __future__ import annotations

import logging
from typing import Any, get_args

import pytest
from confluent_kafka import Consumer, Producer
from pydantic import BaseModel, ValidationError

from worker.kafka import config
from worker.settings import KafkaSettings
from worker.settings.librdkafka import ALLOWED, OWN_KEYS, Client, passed, refusal, shared

WORDS = {
    "broker.address.family": ["any", "v4", "v6"],
    "client.dns.lookup": ["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"],
    "metadata.recovery.strategy": ["none", "rebootstrap"],
}
SWITCHES = ["check.crcs", "socket.nagle.disable"]
TEXTS = {
    "client.rack": "eu-1a",
    "ssl.cipher.suites": "ECDHE-RSA-AES256-GCM-SHA384",
    "ssl.curves.list": "P-256",
    "ssl.sigalgs.list": "RSA+SHA256",
}
BOUNDS = {
    "broker.address.ttl": (0, 86_400_000),
    "connections.max.idle.ms": (0, 2_147_483_647),
    "coordinator.query.interval.ms": (1, 3_600_000),
    "fetch.error.backoff.ms": (0, 300_000),
    "fetch.message.max.bytes": (1, 1_000_000_000),
    "fetch.queue.backoff.ms": (0, 300_000),
    "max.in.flight.requests.per.connection": (1, 5),
    "max.poll.interval.ms": (1, 86_400_000),
    "message.copy.max.bytes": (0, 1_000_000_000),
    "metadata.max.age.ms": (1, 86_400_000),
    "metadata.recovery.rebootstrap.trigger.ms": (0, 2_147_483_647),
    "queue.buffering.backpressure.threshold": (1, 1_000_000),
    "queue.buffering.max.kbytes": (1, 2_147_483_647),
    "queue.buffering.max.messages": (1, 2_147_483_647),
    "queued.max.messages.kbytes": (1, 2_097_151),
    "queued.min.messages": (1, 10_000_000),
    "receive.message.max.bytes": (1_000_512, 2_147_483_647),
    "reconnect.backoff.max.ms": (0, 3_600_000),
    "reconnect.backoff.ms": (0, 3_600_000),
    "retry.backoff.max.ms": (1, 300_000),
    "socket.max.fails": (0, 1_000_000),
    "socket.receive.buffer.bytes": (0, 100_000_000),
    "socket.send.buffer.bytes": (0, 100_000_000),
    "sticky.partitioning.linger.ms": (0, 900_000),
    "topic.metadata.propagation.max.ms": (0, 3_600_000),
    "topic.metadata.refresh.fast.interval.ms": (1, 60_000),
}
LEGAL = [
    *((name, word) for name, words in WORDS.items() for word in words),
    *((name, on) for name in SWITCHES for on in (True, False)),
    *TEXTS.items(),
    *((name, number) for name, bounds in BOUNDS.items() for number in bounds),
]
SPECIAL: dict[tuple[str, object], dict[str, Any]] = {
    ("max.poll.interval.ms", 1): {"group": {"protocol": "consumer"}},
    ("queue.buffering.backpressure.threshold", 1_000_000): {"producer": {"idempotent": False}},
    ("receive.message.max.bytes", 1_000_512): {"consumer": {"fetch_max": 1_000_000}},
}
"""What else must be set for a legal value to make sense; see `KafkaSettings`."""

QUIET = logging.getLogger("tests.librdkafka")
QUIET.setLevel(logging.CRITICAL)


def made(**keys: Any) -> None:
    """Make the clients of some settings; raises what the settings or the client refuse."""
    kafka = KafkaSettings.model_validate({"brokers": "127.0.0.1:1", **keys})
    quiet: dict[str, Any] = {"error_cb": lambda _error: None}
    consumer = config.member(kafka, "g", "read_committed") | quiet
    Consumer(consumer, logger=QUIET).close()
    Producer(config.producer(kafka, {}) | quiet, logger=QUIET).close()


def companions(name: str, value: object) -> dict[str, Any]:
    """Settings with a property, and with what it needs beside it."""
    properties = {name: value}
    if name.startswith("reconnect.backoff"):
        properties = dict.fromkeys(("reconnect.backoff.ms", "reconnect.backoff.max.ms"), value)
    return {"librdkafka": properties, **SPECIAL.get((name, value), {})}


def test_every_property_that_is_allowed_is_tried_here() -> None:
    assert {name for name, _ in LEGAL} == set(ALLOWED)


@pytest.mark.parametrize(("name", "value"), LEGAL)
def test_the_client_takes_every_value_that_is_legal(name: str, value: object) -> None:
    assert refusal(name, value) is None
    made(**companions(name, value))


@pytest.mark.parametrize(("name", "bounds"), BOUNDS.items())
def test_a_number_beyond_its_bounds_is_refused(name: str, bounds: tuple[int, int]) -> None:
    low, high = bounds
    expected = f"{name} is not legal; legal is a whole number from {low} to {high}"

    assert refusal(name, low - 1) == expected
    assert refusal(name, high + 1) == expected


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("value", [None, True, 2.0, "2", "", [2]])
def test_a_number_is_a_whole_number(name: str, value: object) -> None:
    assert "legal is a whole number from" in (refusal(name, value) or "")


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("value", [None, 0, 1, "true", "false", ""])
def test_a_switch_is_true_or_false(name: str, value: object) -> None:
    assert refusal(name, value) == f"{name} is not legal; legal is true or false"


@pytest.mark.parametrize(("name", "words"), WORDS.items())
@pytest.mark.parametrize("value", [None, 4, True, "", "V4", "any,v4"])
def test_a_word_is_one_of_some(name: str, words: list[str], value: object) -> None:
    assert refusal(name, value) == f"{name} is not legal; legal is {' or '.join(words)}"


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", [None, 1, True, "", b"x", ["x"]])
def test_a_text_is_not_empty(name: str, value: object) -> None:
    kind = "names of suites" if name == "ssl.cipher.suites" else "a text"
    assert str(refusal(name, value)).startswith(f"{name} is not legal; legal is {kind}")


@pytest.mark.parametrize(
    "name",
    [
        # they run code
        "plugin.library.paths",
        "sasl.kerberos.kinit.cmd",
        "ssl.engine.location",
        "ssl.engine.id",
        "ssl.providers",
        "opaque",
        "interceptors",
        "default_topic_conf",
        # they switch checks off
        "enable.ssl.certificate.verification",
        "ssl.endpoint.identification.algorithm",
        "enable.sasl.oauthbearer.unsecure.jwt",
        "sasl.oauthbearer.config",
        # they break what is promised
        "enable.auto.commit",
        "enable.auto.offset.store",
        "auto.commit.interval.ms",
        "enable.idempotence",
        "enable.gapless.guarantee",
        "enable.partition.eof",
        "allow.auto.create.topics",
        "acks",
        "transactional.id",
        "group.id",
        "delivery.report.only.error",
        "dr_cb",
        "error_cb",
        "stats_cb",
        "oauth_cb",
        "rebalance_cb",
        "isolation.level",
        "auto.offset.reset",
        # they show what should not be seen, or send it somewhere
        "debug",
        "log_level",
        "enable.metrics.push",
        "statistics.interval.ms",
        "ssl.key.pem",
        "ssl.keystore.password",
        "ssl.keystore.location",
        "ssl.ca.pem",
        "ssl.crl.location",
        "https.ca.location",
        "https.ca.pem",
        "sasl.oauthbearer.token.endpoint.url",
        "sasl.oauthbearer.client.secret",
        "sasl.password",
        "bootstrap.servers",
        "security.protocol",
        # they are for tests, or no names at all
        "test.mock.num.brokers",
        "test.mock.broker.rtt",
        "internal.termination.signal",
        "builtin.features",
        "",
        "CLIENT.RACK",
        " client.rack",
        "client.rack\n",
    ],
)
@pytest.mark.parametrize("value", [True, False, 0, 1, "x"])
def test_a_property_that_could_do_harm_is_refused_with_any_value(name: str, value: object) -> None:
    assert refusal(name, value) is not None
    with pytest.raises(ValidationError):
        KafkaSettings.model_validate({"brokers": "one:9092", "librdkafka": {name: value}})


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("check.crc", "check.crcs"),
        ("client.racks", "client.rack"),
        ("max.poll.intervall.ms", "max.poll.interval.ms"),
        ("queued.min.message", "queued.min.messages"),
        ("socket.nagle.disabled", "socket.nagle.disable"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(name: str, near: str) -> None:
    assert refusal(name, 1) == f"{name} may not be passed through; did you mean {near}?"


def test_what_is_like_no_property_is_answered_with_all_of_them() -> None:
    found = refusal("debug", "all")

    assert found == "debug may not be passed through; legal are " + ", ".join(sorted(ALLOWED))


def test_no_refusal_repeats_the_value() -> None:
    for name in (*ALLOWED, *OWN_KEYS, "debug", "check.crc"):
        assert "canary" not in (refusal(name, ["canary"]) or "canary")


@pytest.mark.parametrize("name", OWN_KEYS)
def test_a_property_with_a_key_of_ours_is_answered_with_a_key_that_there_is(name: str) -> None:
    said = (refusal(name, 1) or "").removeprefix(f"{name} is set by `kafka.").removesuffix("`")

    first, *others = said.split(" and ")
    part = first.rpartition(".")[0]
    for key in (first, *(f"{part}.{other}" for other in others)):
        assert exists(KafkaSettings, key.split("."))


@pytest.mark.parametrize("name", OWN_KEYS)
def test_a_property_has_either_a_key_of_ours_or_may_be_passed_through(name: str) -> None:
    assert name not in ALLOWED


def test_every_property_that_our_keys_set_is_answered_with_its_key() -> None:
    kafka = KafkaSettings.model_validate(
        {
            "brokers": "one:9092",
            "security": {
                "protocol": "SASL_SSL",
                "mechanism": "PLAIN",
                "username": "u",
                "password": "p",
                "ca": "ca.pem",
                "certificate": "c.pem",
                "key": "c.key",
                "key_password": "p",
                "skip_verify": True,
            },
            "producer": {"compression": "zstd", "compression_level": 3, "retries": 5},
        }
    )
    others = KafkaSettings.model_validate(
        {"brokers": "one:9092", "group": {"protocol": "consumer"}}
    )
    fixed = {
        *("group.id", "log.connection.close", "statistics.interval.ms", "enable.metrics.push"),
        *("enable.auto.commit", "enable.auto.offset.store", "enable.partition.eof"),
        *("allow.auto.create.topics", "batch.size"),
    }

    properties = {
        *config.member(kafka, "g", "read_committed", "one"),
        *config.member(others, "g", "read_committed"),
        *config.producer(kafka, {}),
    }

    assert properties - set(OWN_KEYS) - set(ALLOWED) == fixed
    assert all(refusal(name, 1) for name in fixed)


def exists(model: type[BaseModel], keys: list[str]) -> bool:
    """Whether a model has a key, or a key in one of its keys."""
    field = model.model_fields.get(keys[0])
    if field is None:
        return False
    if len(keys) == 1:
        return True
    options = [field.annotation, *get_args(field.annotation)]
    inner = [one for one in options if isinstance(one, type) and issubclass(one, BaseModel)]
    return any(exists(one, keys[1:]) for one in inner)


@pytest.mark.parametrize("key", ["brokers", "producer.acks", "security.oauth.client_secret"])
def test_the_walk_through_the_keys_finds_those_that_there_are(key: str) -> None:
    assert exists(KafkaSettings, key.split("."))
    assert not exists(KafkaSettings, f"{key}x".split("."))
    assert not exists(KafkaSettings, ["producer", "brokers"])


@pytest.mark.parametrize("name", ALLOWED)
def test_a_property_reaches_the_clients_that_it_is_for(name: str) -> None:
    parts: dict[str, Client] = {"consumer": "consumer", "producer": "producer"}
    given = {name: 1}

    homes = [part for part, client in parts.items() if passed(given, client)]

    assert (shared(given) == given) == (homes == [])
    assert len(homes) <= 1
    for part, client in parts.items():
        assert passed(given, client) in ({}, given), part


def test_a_property_of_one_client_does_not_reach_the_other() -> None:
    kafka = KafkaSettings.model_validate(
        {
            "brokers": "one:9092",
            "librdkafka": {
                "client.rack": "eu-1a",
                "check.crcs": True,
                "queue.buffering.max.messages": 7,
            },
        }
    )

    consumer = config.member(kafka, "g", "read_committed")
    producer = config.producer(kafka, {})

    assert (consumer["client.rack"], producer["client.rack"]) == ("eu-1a", "eu-1a")
    assert consumer["check.crcs"] is True
    assert producer["queue.buffering.max.messages"] == 7
    assert "check.crcs" not in producer
    assert "queue.buffering.max.messages" not in consumer


def test_a_property_that_is_passed_through_wins_over_what_we_would_set() -> None:
    kafka = KafkaSettings.model_validate(
        {
            "brokers": "one:9092",
            "librdkafka": {"fetch.queue.backoff.ms": 77, "reconnect.backoff.max.ms": 777},
        }
    )

    consumer = config.member(kafka, "g", "read_committed")

    assert consumer["fetch.queue.backoff.ms"] == 77
    assert consumer["reconnect.backoff.max.ms"] == 777
