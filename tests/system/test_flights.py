"""The example from end to end on a real Kafka."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from handlers.flights import DATA
from tests.system.rig import ROOT, Kafka, Worker, free_port, unique

pytestmark = pytest.mark.kafka


def test_every_flight_becomes_a_delay_or_a_dead_letter_and_every_long_delay_an_alert(
    kafka: Kafka, tmp_path: Path
) -> None:
    prefix, port = unique("e2e"), free_port()
    text = (ROOT / "config" / "flights.yaml").read_text()
    spec = yaml.safe_load(text)
    topics = {topic: f"{prefix}.{topic}" for topic in spec["topics"]}
    spec["topics"] = {topics[topic]: how for topic, how in spec["topics"].items()}
    for pipeline in spec["pipelines"].values():
        for key in ("from", "to", "dead_letter"):
            pipeline[key] = topics[pipeline[key]]
    spec |= {"name": prefix, "server": {"port": port}}
    file = tmp_path / "flights.yaml"
    file.write_text(yaml.safe_dump(spec))
    kafka.create(*topics.values())
    lines = gzip.decompress((DATA / "flights.jsonl.gz").read_bytes()).splitlines()
    kafka.produce(topics["flights"], ((tail(line), line, -1) for line in lines))

    with Worker(file, port, {"KAFKA_BROKERS": kafka.address}) as worker:
        worker.until(lambda: sum(committed(kafka, prefix, "delays", topics["flights"])) == 19_520)
        worker.until(lambda: sum(committed(kafka, prefix, "alerts", topics["delays"])) == 18_360)
        assert worker.stop() == 0

    letters = kafka.read(topics["flights.dlq"])
    reasons = Counter(dict(letter.headers() or [])["dlq.reason"] for letter in letters)
    assert len(kafka.read(topics["delays"])) == 18_360
    assert len(kafka.read(topics["alerts"])) == 407
    assert reasons == {b"rejected": 1_157, b"undecodable": 3}
    originals = Counter(lines)
    assert not Counter(letter.value() or b"" for letter in letters) - originals


def tail(line: bytes) -> bytes | None:
    try:
        tailnum = json.loads(line)["tailnum"]
    except ValueError:
        return None
    return tailnum.encode() if tailnum else None


def committed(kafka: Kafka, prefix: str, pipeline: str, topic: str) -> list[int]:
    return [max(0, offset) for offset in kafka.committed(f"{prefix}.{pipeline}", topic)]
