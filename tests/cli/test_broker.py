from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.cli.rig import environment
from worker.cli.exit_codes import UNREACHABLE
from worker.kafka.admin import KafkaAdmin
from worker.settings import KafkaSettings

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_broker_answers_once_it_is_ready_and_a_signal_ends_it_in_good_order(
    number: signal.Signals,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "worker", "broker"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        ready, _, address = process.stdout.readline().strip().partition(" ")
        if not ready and process.wait(60) == UNREACHABLE:
            give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            give_up("no real Apache Kafka")
        brokers = KafkaSettings.model_validate({"brokers": address})
        known = KafkaAdmin(brokers).describe(["nothing"])
        process.send_signal(number)
        _, err = process.communicate(timeout=60)

    assert (ready, known, process.returncode) == ("ready", {}, 0)
    assert "started in " in err
    assert "Traceback" not in err
