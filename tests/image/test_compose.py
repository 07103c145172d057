"""What `docker compose up` would start on a laptop."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from tests.image.building import ROOT, Image
from tests.system.flights import Flights
from tests.system.rig import Kafka, WorkerProcess, free_port
from worker.kafka.broker import KafkaCluster
from worker.kafka.jars import KAFKA
from worker.observe.monitoring import monitoring_text
from worker.spec import survey
from worker.testing.sharing import real

FILE = ROOT / "compose.yaml"
SERVICES: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))["services"]
DOCS = (ROOT / "docs" / "operations.md").read_text("utf-8")
(FEED,) = re.findall(r"docker compose exec worker (.*)", DOCS)


def mounts(service: str) -> dict[str, Path]:
    """Files and folders of the project by the places where a service reads them."""
    found = {}
    for volume in SERVICES[service].get("volumes", ()):
        source, place, mode = volume.split(":")
        assert mode == "ro", volume
        found[place] = ROOT / source
    return found


def configured(service: str, place: str) -> Any:
    """A file as a service reads it."""
    return yaml.safe_load(mounts(service)[place].read_text("utf-8"))


@contextmanager
def running_kafka() -> Iterator[str]:
    with KafkaCluster() as cluster:
        yield cluster.address


def test_it_is_what_the_specification_of_compose_allows() -> None:
    check = Path(sys.executable).with_name("check-jsonschema")
    command = [str(check), "--builtin-schema", "vendor.compose-spec", str(FILE)]

    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout


def test_only_the_laptop_itself_can_reach_what_it_starts() -> None:
    ports = [port for service in SERVICES.values() for port in service["ports"]]

    assert len(ports) == len(SERVICES)
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_its_kafka_is_the_one_that_the_tests_run_on() -> None:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{KAFKA}"


def test_prometheus_scrapes_the_worker_and_has_the_rules_that_the_worker_prints() -> None:
    config = configured("prometheus", "/etc/prometheus/prometheus.yml")
    (rules,), (job,) = config["rule_files"], config["scrape_configs"]

    assert mounts("prometheus")[rules].read_text("utf-8") == monitoring_text("alerts")
    assert job["static_configs"] == [{"targets": ["worker:8080"]}]


def test_grafana_shows_the_dashboard_that_the_worker_prints_and_asks_prometheus() -> None:
    folder = "/etc/grafana/provisioning"
    (provider,) = configured("grafana", f"{folder}/dashboards/dashboards.yaml")["providers"]
    (source,) = configured("grafana", f"{folder}/datasources/datasources.yaml")["datasources"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]

    assert mounts("grafana")[home].read_text("utf-8") == monitoring_text("dashboard")
    assert str(PurePosixPath(home).parent) == provider["options"]["path"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")


def test_the_worker_has_more_time_to_drain_than_it_takes() -> None:
    document, problems = survey(ROOT / "config" / "flights.yaml", {})

    assert document is not None
    assert not problems
    grace = SERVICES["worker"]["stop_grace_period"]
    assert float(grace.removesuffix("s")) > document.spec.drain_timeout


@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_the_worker_as_compose_runs_it_handles_the_flights_that_the_docs_send(
    image: Image, tmp_path: Path
) -> None:
    service, port = SERVICES["worker"], free_port()
    assert service["read_only"], "as containers of the tests are"
    with real(running_kafka) as address:
        flights = Flights(Kafka(address))
        places = {"KAFKA_BROKERS": address, "WORKER_LISTEN": f"127.0.0.1:{port}"}
        run = image.run(
            *service["command"],
            environ={**service["environment"], **places},
            volumes={place: str(source) for place, source in mounts("worker").items()},
        )
        _, *probe = service["healthcheck"]["test"]
        feed = FEED.replace(service["environment"]["KAFKA_BROKERS"], address).split()
        healthy = [part.replace(":8080", f":{port}") for part in probe]

        with WorkerProcess(run.program, port, tmp_path / "log") as worker:
            worker.until(worker.is_ready)
            assert image.told(*healthy, entrypoint=[]).returncode == 0
            assert image.told(*feed, entrypoint=[], volumes=run.volumes).returncode == 0
            flights.until_through(worker)
            assert worker.stop() == 0
        assert image.told(*healthy, entrypoint=[]).returncode != 0

        flights.look()
