"""The example from end to end on a real Kafka."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.system.flights import Flights
from tests.system.rig import Kafka, Worker, free_port, unique

pytestmark = pytest.mark.kafka


def test_every_flight_becomes_a_delay_or_a_dead_letter_and_every_long_delay_an_alert(
    kafka: Kafka, tmp_path: Path
) -> None:
    flights, port = Flights(kafka, f"{unique('e2e')}."), free_port()
    file = tmp_path / "flights.yaml"
    file.write_text(yaml.safe_dump({**flights.spec, "server": {"port": port}}))
    flights.create()
    flights.send()

    with Worker(file, port, {"KAFKA_BROKERS": kafka.address}) as worker:
        flights.until_through(worker)
        assert worker.stop() == 0

    flights.look()
