"""Values that are nearly right, and the words for what is legal."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.spec import survey

TEXT = """\
version: 1
name: shop
kafka:
  brokers: localhost:9092
handlers: [json]
pipelines:
  a:
    from: x
    handler: h
    to: y
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("from: x", r'from: "x\n"', r"8:5: pipelines.a.from: 'x\n' is not a topic name"),
        ("localhost:9092", r'["h:1\n"]', r"4:3: kafka.brokers: 'h:1\n' is not host:port"),
        (
            "[json]",
            r'["json\n"]',
            r"5:12: handlers[0]: 'json\n' is not the name of a Python module",
        ),
        ("  a:", r'  "a\n":', r"7:3: pipelines.a\n: 'a\n' is not legal; legal are letters"),
        ("version: 1", "version: true", "1:1: version: true is not legal; legal is 1"),
        ("version: 1", "version: 1.0", "1:1: version: 1.0 is not legal; legal is 1"),
        ("version: 1", "version:", "1:1: version: has no value; legal is 1"),
        ("to: y", "delivery:", "10:5: pipelines.a.delivery: has no value; legal are"),
        (
            "from: x",
            "from: 5",
            "8:5: pipelines.a.from: 5 is not a topic, a pattern or a list of them",
        ),
        (
            "from: x",
            "from:",
            "pipelines.a.from: has no value; legal is a topic, a pattern or a list of",
        ),
        ("to: y", "dead_letter: 5", "dead_letter: 5 is not a topic or a mapping with `default`"),
        ("to: y", "dead_letter: [z]", "dead_letter: a list is not a topic or a mapping"),
        ("to: y", "commit: {interval: 0s}", "'0s' is out of range; legal is more than 0s"),
        ("to: y", "timeout: 0s", "'0s' is out of range; legal is more than 0s"),
        ("version: 1", "version: 1\nlane: key", "2:1: lane: no such key; legal are"),
        ("version: 1", "version: 1\nrate_limit: 5/s", "2:1: rate_limit: no such key; legal are"),
        ("to: y", "in_flight: {bytes: 0B}", "'0B' is out of range; legal is at least 1B"),
        ("to: y", "concurrency: 0", "0 is out of range; legal is at least 1"),
        (
            "kafka:",
            "kafka:\n  producer: {linger: 1h}",
            "'1h' is out of range; legal is at most 15m",
        ),
    ],
)
def test_a_value_that_is_nearly_right_is_told_with_what_is_legal(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in TEXT
    file = tmp_path / "spec.yaml"
    file.write_text(TEXT.replace(old, new, 1))

    _, (problem,) = survey(file, {})

    assert expected in str(problem)
