"""The examples of docs/client.md run as they stand, on a real broker."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker import Kafka, TopicConfig
from worker.errors import (
    ClientError,
    ClientFatal,
    CommitFailed,
    Fenced,
    QueueFull,
    TopicsRefused,
    TransactionFailed,
)

pytestmark = pytest.mark.kafka

PORTS = {QueueFull, CommitFailed, ClientFatal, Fenced, TopicsRefused, TransactionFailed}
"""Errors of the engine's ports, which no operation of the client raises."""
PAGE = Path(__file__).parents[2] / "docs" / "client.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def greetings(client: Kafka) -> Iterator[str]:
    """The topic that the examples name, with records to read."""
    client.create_topic("greetings", TopicConfig(1))
    for number in range(3):
        client.send("greetings", f"{number}")
    yield "greetings"
    client.delete_topic("greetings")


def test_every_example_runs(
    client: Kafka, greetings: str, kafka_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for example in EXAMPLES:
        exec(compile(example.replace("localhost:9092", kafka_address), str(PAGE), "exec"), {})

    assert len(EXAMPLES) >= 10
    assert client.offset(greetings, 0, "newest") > 1000
    assert "orders" not in client.list_topics()
    assert "[1] [0]" in capsys.readouterr().out, "the batch names what failed and what did not"


def test_every_operation_and_every_error_is_documented() -> None:
    page = PAGE.read_text("utf-8")
    operations = [name for name in vars(Kafka) if not name.startswith("_")]
    kinds = [kind.__name__ for kind in ClientError.__subclasses__() if kind not in PORTS]

    missing = [name for name in operations + kinds if not re.search(rf"\b{name}\b", page)]

    assert missing == []
