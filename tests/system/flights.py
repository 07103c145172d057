"""The example's topics on a broker, its messages, and what has to come of them."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from functools import cached_property
from typing import Any

import yaml

from handlers.flights import DATA
from tests.system.rig import ROOT, Kafka, WorkerProcess


class Flights:
    """The example; with a prefix its topics and its name are its own."""

    def __init__(self, kafka: Kafka, prefix: str = "") -> None:
        self._kafka = kafka
        spec: dict[str, Any] = yaml.safe_load((ROOT / "config" / "flights.yaml").read_text())
        self._topics = {topic: f"{prefix}{topic}" for topic in spec["topics"]}
        spec["topics"] = {self._topics[topic]: how for topic, how in spec["topics"].items()}
        for pipeline in spec["pipelines"].values():
            for key in ("from", "to", "dead_letter"):
                pipeline[key] = self._topics[pipeline[key]]
        self._name = spec["name"] = f"{prefix}{spec['name']}"
        self.spec = spec

    @cached_property
    def _lines(self) -> list[bytes]:
        return gzip.decompress((DATA / "flights.jsonl.gz").read_bytes()).splitlines()

    def create(self) -> None:
        """Make its topics."""
        self._kafka.create(*self._topics.values())

    def send(self) -> None:
        """Write all flights."""
        lines = ((_tail(line), line, -1) for line in self._lines)
        self._kafka.produce(self._topics["flights"], lines)

    def until_through(self, worker: WorkerProcess) -> None:
        """Wait until everything is handled and committed."""
        worker.until(lambda: self._committed("delays", "flights") == 19_520)
        worker.until(lambda: self._committed("alerts", "delays") == 18_360)

    def look(self) -> None:
        """Every flight became a delay or a dead letter, and every long delay an alert."""
        letters = self._kafka.read(self._topics["flights.dlq"])
        reasons = Counter(dict(letter.headers() or [])["dlq.reason"] for letter in letters)
        assert len(self._kafka.read(self._topics["delays"])) == 18_360
        assert len(self._kafka.read(self._topics["alerts"])) == 407
        assert reasons == {b"rejected": 1_157, b"undecodable": 3}
        assert not Counter(letter.value() or b"" for letter in letters) - Counter(self._lines)

    def _committed(self, pipeline: str, topic: str) -> int:
        offsets = self._kafka.committed(f"{self._name}.{pipeline}", self._topics[topic])
        return sum(max(0, offset) for offset in offsets)


def _tail(line: bytes) -> bytes | None:
    try:
        tailnum = json.loads(line)["tailnum"]
    except ValueError:
        return None
    return tailnum.encode() if tailnum else None
