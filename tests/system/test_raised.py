"""What handlers may raise that ends other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.system.rig import Kafka, Spec, ids, is_through

pytestmark = pytest.mark.kafka

RECORDS = 200
ERRORS = ("SystemExit", "KeyboardInterrupt", "MemoryError", "RecursionError", "GeneratorExit")


@pytest.mark.parametrize(
    "settings",
    [{}, {"ordering": "key", "concurrency": 8}, {"pool": "process", "concurrency": 2}],
    ids=["partition", "threads", "processes"],
)
def test_whatever_a_handler_raises_its_message_is_a_dead_letter_and_the_others_results(
    kafka: Kafka, tmp_path: Path, settings: Mapping[str, Any]
) -> None:
    spec = Spec(kafka, tmp_path, "fail")
    dead_letter = f"{spec.name}.dlq"
    spec.settings = {**settings, "dead_letter": dead_letter}
    spec.create_topics()
    kafka.create(dead_letter)
    failing = {20 * place + 7: error for place, error in enumerate(ERRORS)}
    values = [{"id": n, **({"error": failing[n]} if n in failing else {})} for n in range(RECORDS)]
    kafka.produce(
        spec.source,
        ((b"%d" % n, json.dumps(one).encode(), n % 4) for n, one in enumerate(values)),
    )

    with spec.worker() as worker:
        worker.until(lambda: is_through(kafka, spec, RECORDS))
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log

    letters = kafka.read(dead_letter)
    told: dict[int, dict[str, Any]]
    told = {one: dict(letter.headers() or ()) for letter in letters for one in ids([letter])}
    assert {one: str(headers["dlq.error"], "ascii") for one, headers in told.items()} == failing
    assert len(letters) == len(failing)
    assert sorted(ids(kafka.read(spec.target))) == sorted(set(range(RECORDS)) - failing.keys())
