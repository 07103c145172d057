"""Secrets of a spec turn up nowhere: a worker on a real Kafka that does all it can to tell them."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from pydantic import SecretStr

from tests.otlp import Received, receiver
from tests.secure import USERS, SecureKafka, locked
from tests.security.canaries import (
    family,
    hidden,
    paths_of,
    secret_fields,
    seen_from_outside,
)
from tests.system.rig import Kafka, Spec, Worker, free_port, unique
from tests.tokens import token_server
from worker.flow.redaction import HIDDEN
from worker.settings import Spec as Settings

pytestmark = pytest.mark.kafka

KEY, CLIENT = 'canary-of-a-key\\and "more\nof it', 'canary-of-a-client\\and "more\nof it'
NAME = "canary-of-a-name"
"""What comes from a file is secret in a field of another type, too."""
WAYS = ("return", "reject", "raise")


@contextmanager
def by_password(secure: SecureKafka, folder: Path) -> Iterator[Mapping[str, Any]]:
    """A user with a password, and a certificate whose key has one."""
    own = secure.certificates.client
    key = folder / "key.pem"
    key.write_bytes(locked(own.read_bytes(), KEY))
    yield {
        "protocol": "SASL_SSL",
        "mechanism": "SCRAM-SHA-512",
        "username": "alice",
        "password": SecretStr(USERS["alice"]),
        "ca": str(secure.certificates.ca),
        "certificate": str(own),
        "key": str(key),
        "key_password": SecretStr(KEY),
    }


@contextmanager
def by_token(secure: SecureKafka, _folder: Path) -> Iterator[Mapping[str, Any]]:
    """A user with tokens of an OpenID Connect server."""
    with token_server() as (endpoint, _):
        yield {
            "protocol": "SASL_SSL",
            "mechanism": "OAUTHBEARER",
            "ca": str(secure.certificates.ca),
            "oauth": {
                "endpoint": endpoint,
                "client_id": "worker",
                "client_secret": SecretStr(CLIENT),
            },
        }


def test_every_secret_that_a_spec_can_hold_is_tried_here(
    secure_kafka: SecureKafka, tmp_path: Path
) -> None:
    with by_password(secure_kafka, tmp_path) as first, by_token(secure_kafka, tmp_path) as second:
        tried = paths_of(first, "kafka.security") | paths_of(second, "kafka.security")

    assert tried == secret_fields(Settings)


def answers(worker: Worker) -> str:
    """What every path of the endpoint says."""
    _, listed = answer(worker, "/no-such-path")
    paths = [line for line in listed.splitlines() if line.startswith("/")]
    assert {"/", "/stats", "/metrics", "/history", "/readyz", "/livez"} <= {*paths}
    return "".join(f"{answer(worker, path)}" for path in paths)


def answer(worker: Worker, path: str) -> tuple[str, str]:
    """Headers and body."""
    try:
        with urllib.request.urlopen(worker.address + path) as got:
            return str(got.headers), got.read().decode()
    except HTTPError as got:
        with got:
            return str(got.headers), got.read().decode()


def dead_letters(worker: Worker) -> int:
    counts = worker.pipeline().get("counts", {"dead_lettered": {}})
    return sum(counts["dead_lettered"].values())


@dataclass
class Telling:
    """A spec whose handler tells the secrets of `security`, and one message for each way."""

    kafka: Kafka
    brokers: str
    security: Mapping[str, Any]
    folder: Path
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        kafka = {"brokers": self.brokers, "client_id": SecretStr(NAME), "security": self.security}
        kept = hidden(kafka, self.folder)
        self.files = sorted(map(str, self.folder.glob("secret-*")))
        self.secrets = [Path(file).read_text() for file in self.files]
        self.letters = unique("dlq")
        self.spec = Spec(
            self.kafka,
            self.folder,
            "blab",
            {
                "dead_letter": {"default": self.letters, "message": True, "stack": True},
                **self.settings,
            },
            {
                "handlers": ["tests.security.handlers"],
                "kafka": kept,
            },
        )

    def worker(self, telemetry: Received, arguments: Sequence[str]) -> Worker:
        """Start one with a log and spans of everything, and let it have the messages."""
        self.spec.create_topics()
        self.kafka.create(self.letters)
        values = [json.dumps({"how": how, "files": self.files}).encode() for how in WAYS]
        self.kafka.produce(self.spec.source, [(None, value, 0) for value in values])
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": telemetry.address,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "WORKER_LOG_LEVEL": "debug",
        }
        port = free_port()
        return Worker(self.spec.written(server={"port": port}), port, environment, arguments)

    def records(self, topic: str) -> str:
        """All that the records of a topic hold."""
        found = self.kafka.read(topic)
        return "".join(f"{one.key()!r} {one.value()!r} {one.headers()!r}" for one in found)


@pytest.mark.parametrize(
    ("let_in", "settings", "arguments", "processes"),
    [
        (by_password, {"pool": "process", "concurrency": 1}, ["--processes", "2"], 5),
        (by_token, {}, [], 1),
    ],
    ids=["password", "token"],
)
def test_a_secret_is_told_to_nobody(
    secure_kafka: SecureKafka,
    tmp_path: Path,
    let_in: Callable[[SecureKafka, Path], AbstractContextManager[Mapping[str, Any]]],
    settings: Mapping[str, Any],
    arguments: Sequence[str],
    processes: int,
) -> None:
    kafka = Kafka(secure_kafka.addresses["PLAINTEXT"])
    brokers = secure_kafka.addresses["SASL_SSL"]
    with let_in(secure_kafka, tmp_path) as security, receiver("http", tmp_path) as telemetry:
        telling = Telling(kafka, brokers, security, tmp_path, settings)
        spec = telling.spec

        with telling.worker(telemetry, arguments) as worker:
            worker.until(lambda: dead_letters(worker) == 2 and worker.count("produced") == 1)
            whole = family(worker.pid)
            seen = "".join(map(seen_from_outside, whole))
            endpoint = answers(worker)
            assert worker.stop() == 0

        followed = f"process {spec.source}"
        telemetry.until(lambda: len(telemetry.named(followed)) == 3 and telemetry.numbers)
        places = {
            "the log": worker.log,
            "the endpoint": endpoint,
            "results": telling.records(spec.target),
            "dead letters": telling.records(telling.letters),
            "telemetry": json.dumps([telemetry.spans, telemetry.numbers]),
            "command lines and environments": seen,
        }

    found = {
        (place, one)
        for place, text in places.items()
        for one in telling.secrets
        if one.partition("\\")[0] in text
    }
    assert not found
    assert len(whole) >= processes
    assert {place for place, text in places.items() if HIDDEN in text} == {
        "the log",
        "the endpoint",
        "dead letters",
        "telemetry",
    }
