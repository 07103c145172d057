"""What users import is small, is there, and comes quickly."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import worker

SLOW = ["confluent_kafka", "pydantic", "yaml", "rich", "opentelemetry"]
"""Libraries that take long to import."""


def imported(program: str) -> list[str]:
    """Which of the slow libraries a program has imported."""
    program += f"\nimport sys\nprint(*(name for name in {SLOW} if name in sys.modules))"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()


def test_the_public_names_are_few() -> None:
    assert len(worker.__all__) <= 15
    assert len(set(worker.__all__)) == len(worker.__all__)
    assert worker.__all__ == sorted(worker.__all__)


@pytest.mark.parametrize("name", worker.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    scope: dict[str, object] = {}

    exec(f"from worker import {name}", scope)

    assert scope[name] is getattr(worker, name)


def test_a_star_brings_every_public_name() -> None:
    scope: dict[str, object] = {}

    exec("from worker import *", scope)

    assert set(worker.__all__) <= set(scope)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("Kafka", "worker.kafka.client"),
        ("KafkaSettings", "worker.settings"),
        ("TopicConfig", "worker.kafka.topics"),
    ],
)
def test_what_is_imported_later_is_what_its_module_has(name: str, module: str) -> None:
    assert getattr(worker, name) is getattr(importlib.import_module(module), name)


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'worker' has no attribute 'Kafaka'"):
        _ = worker.Kafaka


def test_importing_the_worker_imports_nothing_that_takes_long() -> None:
    assert imported("import worker") == []


def test_handlers_import_nothing_that_takes_long() -> None:
    assert imported("from worker import Message, Record, Reject, handler, resource") == []


def test_the_client_is_imported_when_it_is_asked_for() -> None:
    assert imported("import worker\nworker.Kafka")[:2] == ["confluent_kafka", "pydantic"]
