"""Specs for tests that drive them, with handlers of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from worker.app import Options
from worker.handlers import Registry
from worker.spec import Document, Suite, load, load_tests
from worker.types import Message

TOP = """\
version: 1
name: test
kafka: {brokers: localhost:1}
handlers: [handlers]
topics:
  source: {partitions: 1}
  target: {partitions: 1}
"""

ONE = """\
  one:
    from: source
    handler: handler
    to: target
    ordering: key
    retry: {attempts: 3, backoff: {initial: 1s, max: 10s}, topics: [10m]}
    dead_letter: dlq
"""


def same(payload: dict[str, Any]) -> dict[str, Any]:
    """Return what it is given."""
    return payload


def of(folder: Path, text: str) -> Document:
    """A spec of these pipelines."""
    file = folder / "spec.yaml"
    file.write_text(f"{TOP}pipelines:\n{text}")
    return load(file, {})


def one(folder: Path, settings: str = "") -> Document:
    """A spec of one pipeline, `one`, from `source` to `target`."""
    return of(folder, f"  one: {{from: source, handler: handler, to: target, {settings}}}\n")


def options(
    function: Callable[..., Any] = same, *, batch: int | None = None, draw: float = 0.0
) -> Options:
    """Options with this function as `handler`."""
    registry = Registry()
    registry.handler(function, batch=batch, name="handler")
    return Options(registry=registry, draw=lambda: draw)


def numbers(messages: list[Message]) -> list[int]:
    """What messages hold that are JSON numbers under `n`."""
    return [int((message.value or b"").split(b":")[1].rstrip(b"}")) for message in messages]


def suite(folder: Path, tests: str, pipelines: str = "") -> Suite:
    """Tests beside a spec of these pipelines, by default `one` with retries and dead letters."""
    of(folder, pipelines or ONE)
    file = folder / "spec.test.yaml"
    file.write_text(f"version: 1\nspec: spec.yaml\ntests:\n{tests}")
    return load_tests(file, {})
