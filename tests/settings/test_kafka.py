"""What the settings of a client take, what they refuse, and what they never show."""

from __future__ import annotations

import math
import traceback
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from worker.settings import (
    WRITTEN,
    ConsumerSettings,
    GroupSettings,
    KafkaSettings,
    MetadataSettings,
    Model,
    NetworkSettings,
    OAuth,
    ProducerSettings,
    Security,
)

CANARY = "canary-9f31"
OAUTH = {"endpoint": "https://tokens/oauth", "client_id": "a", "client_secret": CANARY}
USER = {"mechanism": "PLAIN", "username": "u", "password": CANARY}
EVERY_SECRET = {
    "protocol": "SASL_SSL",
    **USER,
    "certificate": "client.pem",
    "key": "client.key",
    "key_password": CANARY,
}


def refusals(model: type[Model], *, context: Any = None, **keys: Any) -> list[str]:
    """What a model has to say against some keys."""
    try:
        model.model_validate(keys, context=context)
    except ValidationError as error:
        return [one["msg"].removeprefix("Value error, ") for one in error.errors()]
    return []


# --- defaults ---


def test_the_defaults_of_a_client_are_those_that_are_promised() -> None:
    kafka = KafkaSettings(brokers=["one:9092"])

    assert kafka.client_id == "stream-worker"
    assert kafka.security == Security()
    assert kafka.security.protocol == "PLAINTEXT"
    assert kafka.security.skip_verify is False
    assert kafka.librdkafka == {}


def test_the_defaults_of_a_producer_lose_and_repeat_nothing() -> None:
    producer = ProducerSettings()

    assert (producer.enabled, producer.acks, producer.idempotent) == (True, "all", True)
    assert (producer.compression, producer.compression_level) == ("none", None)
    assert producer.partitioner == "murmur2_random"
    assert (producer.linger, producer.batch_messages) == (0.005, 10_000)
    assert (producer.retries, producer.retry_backoff) == (None, 0.1)
    assert (producer.delivery_timeout, producer.max_message_bytes) == (30.0, None)


def test_the_defaults_of_a_consumer_are_the_newest_committed_records() -> None:
    consumer = ConsumerSettings()

    assert (consumer.enabled, consumer.offsets) == (True, "newest")
    assert consumer.isolation == "read_committed"
    assert consumer.max_wait == 0.25
    assert (consumer.fetch_min, consumer.fetch_max) == (1, 16 * 1024**2)


def test_the_defaults_of_a_group_are_sticky_with_a_session_of_ten_seconds() -> None:
    group = GroupSettings()

    assert (group.protocol, group.rebalance, group.instance) == ("classic", "sticky", None)
    assert (group.session_timeout, group.heartbeat) == (10.0, 3.0)


def test_the_defaults_of_network_and_metadata_agree_with_each_other() -> None:
    network, metadata = NetworkSettings(), MetadataSettings()

    assert (network.dial_timeout, network.request_timeout) == (30.0, 10.0)
    assert (network.read_timeout, network.write_timeout) == (10.0, 10.0)
    assert network.keep_alive is True
    assert (metadata.retries, metadata.retry_backoff) == (3, 0.25)
    assert (metadata.refresh, metadata.full) == (30.0, False)


# --- contradictions ---


@pytest.mark.parametrize("endpoint", ["https://tokens", "https://tokens:8443/a/b?c=d@e"])
@pytest.mark.parametrize("ca", [None, "ca.pem"])
def test_tokens_come_over_https(endpoint: str, ca: str | None) -> None:
    assert refusals(OAuth, **{**OAUTH, "endpoint": endpoint, "ca": ca}) == []


@pytest.mark.parametrize("endpoint", ["http://localhost:8080/a", "http://127.0.0.9/a"])
def test_tokens_of_this_machine_may_come_readably(endpoint: str) -> None:
    assert refusals(OAuth, **{**OAUTH, "endpoint": endpoint}) == []


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "tokens",
        "https://",
        "https:///a",
        "http://tokens/a",
        "http://localhost.example.com/a",
        "http://localhost:80@example.com/a",
        "http://localhost:secret@example.com/a",
        "http://127.0.0.1.example.com/a",
        "https://user:secret@tokens/a",
        "ftp://tokens/a",
        "file:///etc/passwd",
        "https://tokens/a b",
        "https://tokens/a\n",
    ],
)
def test_a_secret_goes_to_no_other_endpoint(endpoint: str) -> None:
    found = refusals(OAuth, **{**OAUTH, "endpoint": endpoint})

    assert found == ["endpoint must begin with https://, or be on this machine, and name no user"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        *(
            (
                {"protocol": protocol, **key},
                "mechanism, username, password and oauth need the protocol SASL_SSL or "
                f"SASL_PLAINTEXT, not {protocol}",
            )
            for protocol in ("PLAINTEXT", "SSL")
            for key in ({"mechanism": "PLAIN"}, {"username": "u"}, {"password": "p"})
        ),
        (
            {"oauth": OAUTH},
            "mechanism, username, password and oauth need the protocol SASL_SSL or "
            "SASL_PLAINTEXT, not PLAINTEXT",
        ),
        *(
            ({"protocol": protocol, **key}, f"{protocol} needs mechanism, username and password")
            for protocol in ("SASL_SSL", "SASL_PLAINTEXT")
            for key in (
                {},
                {"mechanism": "PLAIN"},
                {"mechanism": "SCRAM-SHA-256", "username": "u"},
                {"mechanism": "SCRAM-SHA-512", "password": "p"},
                {"username": "u", "password": "p"},
            )
        ),
        (
            {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER", "username": "u", "oauth": OAUTH},
            "OAUTHBEARER takes oauth, not username and password",
        ),
        (
            {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER", "password": "p"},
            "OAUTHBEARER takes oauth, not username and password",
        ),
        (
            {"protocol": "SASL_SSL", **USER, "oauth": OAUTH},
            "oauth needs the mechanism OAUTHBEARER",
        ),
        *(
            (
                {**base, **key},
                "ca, certificate, key, key_password and skip_verify need the protocol SSL or "
                f"SASL_SSL, not {base['protocol']}",
            )
            for base in ({"protocol": "PLAINTEXT"}, {"protocol": "SASL_PLAINTEXT", **USER})
            for key in (
                {"ca": "ca.pem"},
                {"certificate": "client.pem"},
                {"key": "client.key"},
                {"key_password": "p"},
                {"skip_verify": True},
            )
        ),
        ({"protocol": "SSL", "certificate": "client.pem"}, "certificate and key go together"),
        ({"protocol": "SSL", "key": "client.key"}, "certificate and key go together"),
    ],
)
def test_keys_of_security_that_contradict_each_other_are_refused(
    keys: dict[str, Any], expected: str
) -> None:
    assert refusals(Security, **keys) == [expected]


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"protocol": "SSL"},
        {"protocol": "SSL", "ca": "ca.pem", "certificate": "c.pem", "key": "c.key"},
        {"protocol": "SSL", "skip_verify": True},
        {"protocol": "SASL_PLAINTEXT", **USER},
        {"protocol": "SASL_PLAINTEXT", **USER, "mechanism": "SCRAM-SHA-256"},
        {"protocol": "SASL_SSL", **USER, "mechanism": "SCRAM-SHA-512"},
        {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER", "oauth": OAUTH},
        {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER"},
        EVERY_SECRET,
    ],
)
def test_keys_of_security_that_agree_are_taken(keys: dict[str, Any]) -> None:
    assert refusals(Security, **keys) == []


def test_read_and_write_time_outs_that_differ_are_refused() -> None:
    expected = "read_timeout and write_timeout must be equal: librdkafka has one time-out for both"

    assert refusals(NetworkSettings, read_timeout=20.0) == [expected]
    assert refusals(NetworkSettings, write_timeout=20.0) == [expected]
    assert refusals(NetworkSettings, read_timeout=20.0, write_timeout=20.0) == []


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"acks": "none"}, "idempotent needs acks all, not none; or set it to false"),
        ({"acks": "local"}, "idempotent needs acks all, not local; or set it to false"),
        ({"retries": 0}, "idempotent needs retries; or set it to false"),
        ({"linger": 30.0}, "linger must be shorter than delivery_timeout"),
        ({"linger": 1.0, "delivery_timeout": 0.5}, "linger must be shorter than delivery_timeout"),
        ({"compression_level": 1}, "compression none has no levels"),
        ({"compression": "snappy", "compression_level": 1}, "compression snappy has no levels"),
        *(
            (
                {"compression": codec, "compression_level": level},
                f"compression_level {level} is not legal; {codec} takes {low} to {high}",
            )
            for codec, low, high in (("gzip", 0, 9), ("lz4", 0, 12), ("zstd", 1, 12))
            for level in (low - 1, high + 1)
        ),
    ],
)
def test_keys_of_a_producer_that_contradict_each_other_are_refused(
    keys: dict[str, Any], expected: str
) -> None:
    assert refusals(ProducerSettings, **keys) == [expected]


@pytest.mark.parametrize(
    "keys",
    [
        {"acks": "none", "idempotent": False},
        {"acks": "local", "idempotent": False, "retries": 0},
        {"retries": 1},
        {"linger": 29.0},
        *(
            {"compression": codec, "compression_level": level}
            for codec, low, high in (("gzip", 0, 9), ("lz4", 0, 12), ("zstd", 1, 12))
            for level in (low, high)
        ),
    ],
)
def test_keys_of_a_producer_that_agree_are_taken(keys: dict[str, Any]) -> None:
    assert refusals(ProducerSettings, **keys) == []


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"heartbeat": 5.1}, "heartbeat must be at most half of session_timeout"),
        ({"session_timeout": 5.9}, "heartbeat must be at most half of session_timeout"),
        (
            {"protocol": "consumer", "rebalance": "roundrobin"},
            "'roundrobin' is not legal with the protocol consumer; legal is sticky or range",
        ),
        (
            {"protocol": "consumer", "session_timeout": 10.0, "heartbeat": 3.0},
            "is not legal with the protocol consumer: the broker's "
            "group.consumer.session.timeout.ms counts; is not legal with the protocol consumer: "
            "the broker's group.consumer.heartbeat.interval.ms counts",
        ),
    ],
)
def test_keys_of_a_group_that_contradict_each_other_are_refused(
    keys: dict[str, Any], expected: str
) -> None:
    assert refusals(GroupSettings, **keys) == [expected]


@pytest.mark.parametrize(
    ("protocol", "rebalance"),
    [
        ("classic", "sticky"),
        ("classic", "range"),
        ("classic", "roundrobin"),
        ("consumer", "sticky"),
        ("consumer", "range"),
    ],
)
def test_each_protocol_has_its_ways_to_rebalance(protocol: str, rebalance: str) -> None:
    assert refusals(GroupSettings, protocol=protocol, rebalance=rebalance) == []


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "é", "a" * 101])
def test_the_name_of_an_instance_is_plain(name: str) -> None:
    assert refusals(GroupSettings, instance=name)
    assert refusals(GroupSettings, instance="pod-1.a_B") == []


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (
            {"consumer": {"max_wait": 9.5}},
            "network.read_timeout must be at least a second longer than consumer.max_wait",
        ),
        (
            {"network": {"read_timeout": 1.0, "write_timeout": 1.0}},
            "network.read_timeout must be at least a second longer than consumer.max_wait",
        ),
        (
            {"group": {"session_timeout": 301.0}},
            "group.session_timeout must be at most max.poll.interval.ms, 300000",
        ),
        (
            {"librdkafka": {"max.poll.interval.ms": 9_999}},
            "group.session_timeout must be at most max.poll.interval.ms, 9999",
        ),
        (
            {"librdkafka": {"reconnect.backoff.ms": 2_001}},
            "reconnect.backoff.max.ms, 2000, must be at least reconnect.backoff.ms, 2001",
        ),
        (
            {"librdkafka": {"reconnect.backoff.max.ms": 99}},
            "reconnect.backoff.max.ms, 99, must be at least reconnect.backoff.ms, 100",
        ),
        (
            {"librdkafka": {"receive.message.max.bytes": 16 * 1024**2}},
            "receive.message.max.bytes must be at least consumer.fetch_max and 512 bytes",
        ),
        (
            {"librdkafka": {"queue.buffering.backpressure.threshold": 2}},
            "queue.buffering.backpressure.threshold must be 1 when producer.idempotent is on",
        ),
    ],
)
def test_parts_that_contradict_each_other_are_refused(keys: dict[str, Any], expected: str) -> None:
    assert refusals(KafkaSettings, brokers="one:9092", **keys) == [expected]


@pytest.mark.parametrize(
    "keys",
    [
        {"consumer": {"max_wait": 9.0}},
        {"group": {"session_timeout": 300.0}},
        {"group": {"protocol": "consumer"}, "librdkafka": {"max.poll.interval.ms": 1_000}},
        {"librdkafka": {"reconnect.backoff.ms": 0, "reconnect.backoff.max.ms": 0}},
        {"librdkafka": {"receive.message.max.bytes": 16 * 1024**2 + 512}},
        {
            "producer": {"idempotent": False},
            "librdkafka": {"queue.buffering.backpressure.threshold": 2},
        },
    ],
)
def test_parts_that_agree_are_taken(keys: dict[str, Any]) -> None:
    assert refusals(KafkaSettings, brokers="one:9092", **keys) == []


# --- values ---


@pytest.mark.parametrize(
    ("model", "key", "low", "high"),
    [
        (NetworkSettings, "dial_timeout", 1, 2_147_483),
        (NetworkSettings, "request_timeout", 0.001, 900),
        (MetadataSettings, "retries", 0, 1000),
        (MetadataSettings, "refresh", 0.01, 3600),
        (ProducerSettings, "batch_messages", 1, 1_000_000),
        (ProducerSettings, "max_message_bytes", 1000, 1_000_000_000),
        (ProducerSettings, "retries", 1, 2_147_483_647),
        (ProducerSettings, "retry_backoff", 0.001, 300),
        (ProducerSettings, "delivery_timeout", 0.1, 2_147_483),
        (ConsumerSettings, "max_wait", 0, 300),
        (ConsumerSettings, "fetch_min", 1, 100_000_000),
        (ConsumerSettings, "fetch_max", 1_000_000, 2_000_000_000),
        (GroupSettings, "session_timeout", 6, 3600),
    ],
)
def test_a_number_is_taken_up_to_its_bounds_and_not_beyond(
    model: type[Model], key: str, low: float, high: float
) -> None:
    assert refusals(model, **{key: low}) == []
    assert refusals(model, **{key: high}) == []
    assert refusals(model, **{key: low - 1})
    assert refusals(model, **{key: high + 1})


@pytest.mark.parametrize("timeout", [0.009, 301])
def test_the_one_time_out_of_sockets_has_bounds(timeout: float) -> None:
    found = refusals(NetworkSettings, read_timeout=timeout, write_timeout=timeout)

    assert len(found) == 2


DURATIONS = [
    (NetworkSettings, "dial_timeout"),
    (NetworkSettings, "request_timeout"),
    (MetadataSettings, "retry_backoff"),
    (MetadataSettings, "refresh"),
    (ProducerSettings, "linger"),
    (ProducerSettings, "retry_backoff"),
    (ProducerSettings, "delivery_timeout"),
    (ConsumerSettings, "max_wait"),
    (GroupSettings, "session_timeout"),
]
SIZES = [
    (ProducerSettings, "max_message_bytes"),
    (ConsumerSettings, "fetch_min"),
    (ConsumerSettings, "fetch_max"),
]


@pytest.mark.parametrize(("model", "key"), DURATIONS)
def test_a_duration_is_seconds_in_code_and_has_a_unit_in_a_file(
    model: type[Model], key: str
) -> None:
    expected = "8 is not a duration such as 200ms, 10s, 5m"

    in_code = model.model_validate({key: 8})
    written = model.model_validate({key: "8s"}, context=WRITTEN)

    assert getattr(in_code, key) == getattr(written, key) == 8.0
    assert refusals(model, context=WRITTEN, **{key: 8}) == [expected]


@pytest.mark.parametrize(("model", "key"), SIZES)
def test_a_size_is_bytes_in_code_and_has_a_unit_in_a_file(model: type[Model], key: str) -> None:
    expected = "2097152 is not a size such as 512KiB or 32MiB"

    in_code = model.model_validate({key: 2 * 1024**2})
    written = model.model_validate({key: "2MiB"}, context=WRITTEN)

    assert getattr(in_code, key) == getattr(written, key) == 2 * 1024**2
    assert refusals(model, context=WRITTEN, **{key: 2 * 1024**2}) == [expected]


@pytest.mark.parametrize(("model", "key"), DURATIONS)
@pytest.mark.parametrize("number", [-1, -0.5, math.nan, math.inf, -math.inf, True])
def test_no_duration_is_negative_or_endless(model: type[Model], key: str, number: float) -> None:
    expected = f"{number!r} is not a duration such as 200ms, 10s, 5m"

    assert refusals(model, **{key: number}) == [expected]


@pytest.mark.parametrize(("model", "key"), SIZES)
@pytest.mark.parametrize("number", [-1, 1_500_000.5, math.nan, math.inf, True])
def test_a_size_is_whole_bytes(model: type[Model], key: str, number: float) -> None:
    assert refusals(model, **{key: number}) == [f"{number!r} is not a size such as 512KiB or 32MiB"]


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        (Security, {"protocol": "sasl_ssl"}),
        (Security, {"protocol": "SASL_SSL", **USER, "mechanism": "GSSAPI"}),
        (ProducerSettings, {"acks": 1}),
        (ProducerSettings, {"acks": "1"}),
        (ProducerSettings, {"compression": "brotli"}),
        (ProducerSettings, {"partitioner": "hash"}),
        (ProducerSettings, {"idempotent": "true"}),
        (ProducerSettings, {"compression": "gzip", "compression_level": "9"}),
        (ConsumerSettings, {"offsets": "latest"}),
        (ConsumerSettings, {"isolation": "serializable"}),
        (ConsumerSettings, {"enabled": 1}),
        (GroupSettings, {"rebalance": "cooperative-sticky"}),
        (GroupSettings, {"protocol": "kip848"}),
        (MetadataSettings, {"retries": 1.0}),
        (NetworkSettings, {"keep_alive": "yes"}),
        (NetworkSettings, {"timeout": 1.0}),
    ],
)
def test_a_word_that_is_not_legal_a_near_type_and_an_unknown_key_are_refused(
    model: type[Model], keys: dict[str, Any]
) -> None:
    assert len(refusals(model, **keys)) == 1


@pytest.mark.parametrize(
    "brokers", ["", [], None, "one", "one:", "one:port", "kafka://one:9092", "u:p@one:9092", [1]]
)
def test_a_broker_is_a_host_and_a_port(brokers: Any) -> None:
    (found,) = refusals(KafkaSettings, brokers=brokers)

    assert "host:port" in found
    assert "u:p" not in found


def test_brokers_come_with_commas_or_as_a_list() -> None:
    kafka = KafkaSettings.model_validate({"brokers": "one:9092, [::1]:9093"})

    assert kafka.brokers == ["one:9092", "[::1]:9093"]
    assert KafkaSettings(brokers=kafka.brokers) == kafka


def test_settings_do_not_change_once_they_are_made() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ProducerSettings().acks = "none"  # type: ignore[misc]


def test_every_property_that_is_refused_is_named() -> None:
    properties = {"debug": "all", "plugin.library.paths": "x.so", "client.rack": "a"}

    (found,) = refusals(KafkaSettings, brokers="one:9092", librdkafka=properties)

    assert "debug may not be passed through" in found
    assert "plugin.library.paths may not be passed through" in found
    assert "client.rack may" not in found


# --- secrets ---


def shown(error: ValidationError) -> str:
    """What a log has of an error."""
    return "".join([str(error), repr(error), *traceback.format_exception(error)])


def test_a_secret_is_in_no_text_of_the_settings() -> None:
    kafka = KafkaSettings.model_validate({"brokers": "one:9092", "security": {**EVERY_SECRET}})
    tokens = Security.model_validate(
        {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER", "oauth": OAUTH}
    )

    for model in (kafka, kafka.security, tokens, tokens.oauth):
        assert model is not None
        texts = [repr(model), str(model), f"{model}", str(model.model_dump())]
        texts += [model.model_dump_json(), repr(model.model_copy())]
        assert CANARY not in "".join(texts)


def test_a_secret_can_be_had_by_who_asks_for_it() -> None:
    security = Security.model_validate(EVERY_SECRET)
    oauth = OAuth.model_validate(OAUTH)

    secrets = [security.password, security.key_password, oauth.client_secret]

    assert [secret.get_secret_value() for secret in secrets if secret] == [CANARY] * 3


def test_a_secret_is_taken_wrapped_too() -> None:
    wrapped = Security.model_validate({**EVERY_SECRET, "password": SecretStr(CANARY)})

    assert wrapped == Security.model_validate(EVERY_SECRET)


@pytest.mark.parametrize(
    "keys",
    [
        # the secret itself is of a wrong type
        {"security": {**EVERY_SECRET, "password": [CANARY]}},
        {"security": {**EVERY_SECRET, "password": {"value": CANARY}}},
        {"security": {**EVERY_SECRET, "password": CANARY.encode()}},
        {"security": {**EVERY_SECRET, "key_password": [CANARY]}},
        {"security": {"oauth": {**OAUTH, "client_secret": [CANARY]}}},
        # another field of its model is wrong
        {"security": {**EVERY_SECRET, "protocol": "TLS"}},
        {"security": {**EVERY_SECRET, "protocol": "PLAINTEXT"}},
        {"security": {**EVERY_SECRET, "mechanism": "GSSAPI"}},
        {"security": {**EVERY_SECRET, "username": 7}},
        {"security": {**EVERY_SECRET, "key": None}},
        {"security": {**EVERY_SECRET, "skip_verify": "no"}},
        {"security": {**EVERY_SECRET, "oauth": OAUTH}},
        {"security": {**EVERY_SECRET, "unknown": 1}},
        {"security": {"oauth": {**OAUTH, "endpoint": "http://tokens"}}},
        {"security": {"oauth": {**OAUTH, "endpoint": 7}}},
        {"security": {"oauth": {"client_secret": CANARY}}},
        # another part is wrong, or the secret stands in a wrong place
        {"security": EVERY_SECRET, "brokers": 7},
        {"security": EVERY_SECRET, "consumer": {"max_wait": 100}},
        {"security": EVERY_SECRET, "librdkafka": {"sasl.password": CANARY}},
        {"security": CANARY},
        {"security": [EVERY_SECRET]},
        {"librdkafka": {"ssl.key.pem": CANARY}},
        {"librdkafka": {"check.crcs": CANARY}},
        {"brokers": f"user:{CANARY}@one:9092"},
    ],
)
def test_no_refusal_shows_a_secret(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        KafkaSettings.model_validate({"brokers": "one:9092", **keys})

    assert CANARY not in shown(caught.value)


@pytest.mark.parametrize("model", [Security, OAuth])
def test_no_refusal_of_a_part_made_alone_shows_a_secret(model: type[Model]) -> None:
    keys = {**EVERY_SECRET, **OAUTH, "protocol": "PLAINTEXT"}

    with pytest.raises(ValidationError) as caught:
        model.model_validate(keys)

    assert CANARY not in shown(caught.value)
