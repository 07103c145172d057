"""Specs that are simulated, one for each promise that a pipeline can make."""

from __future__ import annotations

from pathlib import Path

from worker.spec import Document, load

TOP = """\
version: 1
name: simulated
kafka: {brokers: localhost:1%s}
handlers: [handlers]
topics:
  in: {partitions: 3}
  middle: {partitions: 3}
  out: {partitions: 3}
  dlq: {partitions: 1}
pipelines:
"""
ONE = "  one: {from: in, handler: handle, to: out, dead_letter: dlq%s}\n"
CHAIN = """\
  one: {from: in, handler: handle, to: middle, dead_letter: dlq, delivery: exactly_once}
  two: {from: middle, handler: skip, to: out, on_error: skip, commit: {messages: 1}}
"""
PIPELINES = {
    "partition": ONE % "",
    "key": ONE % ", ordering: key, retry: {attempts: 2}",
    "none": ONE % ", ordering: none, in_flight: {messages: 20}",
    "batch": ONE % ", batch: 10, retry: {attempts: 3}",
    "eager": ONE % ", ordering: key, concurrency: 8",
    "lanes": ONE % ", ordering: key, retry: {attempts: 2, topics: [5s, 60s]}",
    "tiers": ONE % ", retry: {topics: [5s, 60s], keep_order: false}",
    "exact": ONE % ", delivery: exactly_once",
    "exact-lanes": ONE
    % ", delivery: exactly_once, ordering: key, in_flight: {messages: 12}, retry: {topics: [5s]}",
    "chain": CHAIN,
    "sink": "  one: {from: in, handler: handle, concurrency: 1}\n",
}
GROUPS = {"eager": ", group: {rebalance: range}"}


def spec(name: str, folder: Path) -> Document:
    """One of these."""
    file = folder / f"{name}.yaml"
    file.write_text(TOP % GROUPS.get(name, "") + PIPELINES[name])
    return load(file, {})
