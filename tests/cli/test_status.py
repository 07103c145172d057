"""`worker status` beside a real endpoint."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from tests.cli.rig import worker
from tests.page.scenes import Scene, airline, partition, pipeline, served
from worker.errors import NoWorker
from worker.flow.health import Flow
from worker.http import JSON, METRICS, Response, serve
from worker.observe.stats import stats_json
from worker.operate.watching import durations_of

FLOW = Flow(("orders",), "double", "doubles", ("orders.dlq",))


def ready() -> Scene:
    running = pipeline("doubles", FLOW, partitions=(partition("orders", 0, 5, 1),))
    shown = Scene(lambda _: (running,))
    shown.forward(905)
    return shown


def troubled() -> Scene:
    shown = Scene(airline)
    shown.forward(905)
    return shown


def test_a_worker_that_is_ready_ends_with_0(tmp_path: Path) -> None:
    with served(ready()) as address:
        code, out, err = worker("status", address, folder=tmp_path)

    assert (code, err) == (0, "")
    assert "  ready  up " in out.splitlines()[0]
    assert "doubles" in out


def test_one_that_is_not_ends_with_1_and_says_why(tmp_path: Path) -> None:
    with served(troubled()) as address:
        code, out, err = worker("status", folder=tmp_path, WORKER_URL=address)

    assert (code, err) == (1, "")
    assert "  not ready  up " in out.splitlines()[0]
    assert "notify: breaker smtp is open: 12 failures in a row" in out.splitlines()[2]


def test_programs_get_everything_as_json_or_yaml(tmp_path: Path) -> None:
    with served(troubled()) as address:
        code, out, _ = worker("status", address, "--output", "json", folder=tmp_path)
        _, text, _ = worker("status", address, "--output", "yaml", folder=tmp_path)

    told, same = json.loads(out), yaml.safe_load(text)
    assert code == 1
    assert (told["ready"], told["name"], told["pipelines"].keys()) == (
        same["ready"],
        same["name"],
        same["pipelines"].keys(),
    )
    assert not told["ready"]
    assert told["reasons"] == same["reasons"] != []
    assert told["pipelines"]["delays"]["flow"]["from"] == ["flights", "flights.late"]


@pytest.mark.parametrize("command", ["status", "top"])
def test_where_it_is_may_be_said_by_argument_option_or_variable_but_not_by_two(
    tmp_path: Path, command: str
) -> None:
    with served(ready()) as address:
        told = [
            worker(command, address, folder=tmp_path, WORKER_URL="elsewhere.invalid:1"),
            worker(command, "--url", address, folder=tmp_path, WORKER_URL="elsewhere.invalid:1"),
            worker(command, folder=tmp_path, WORKER_URL=address),
        ]
        twice = worker(command, address, "--url", address, folder=tmp_path)

    assert [(code, "doubles" in out) for code, out, _ in told] == [(0, True)] * 3
    assert (twice[0], "give URL or --url, not both" in twice[2]) == (2, True)


def test_nobody_who_answers_ends_with_69(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        code, out, err = worker("status", f"127.0.0.1:{taken.getsockname()[1]}", folder=tmp_path)

    assert (code, out) == (69, "")
    assert "Error: no worker answers at http://127.0.0.1:" in err


def test_whoever_answers_unlike_a_worker_forges_no_line(tmp_path: Path) -> None:
    told = json.loads(stats_json(ready().snapshot()))
    stats = json.dumps({**told, "pipelines": {"a\n\x1b[2Jall is well": {}}}).encode()
    metrics = b'worker_handler_duration_seconds{pipeline="a\x1b[2J"} all\x85is well\n'
    paths = {
        "/stats": lambda: Response(200, stats, JSON),
        "/metrics": lambda: Response(200, metrics.decode("latin-1").encode(), METRICS),
    }
    with closing(serve("127.0.0.1", 0, paths)) as server:
        code, out, err = worker("status", server.address, folder=tmp_path)
        with pytest.raises(NoWorker) as caught:
            durations_of(f"http://{server.address}")

    assert (code, out) == (69, "")
    assert len(err.splitlines()) == 1
    assert "\x1b" not in err
    assert str(caught.value).isprintable()


def test_whoever_does_not_speak_http_forges_no_line(tmp_path: Path) -> None:
    def answer() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"x\x0bError: all is well\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer)
        thread.start()
        code, out, err = worker("status", f"127.0.0.1:{server.getsockname()[1]}", folder=tmp_path)
        thread.join()

    assert (code, out, len(err.splitlines())) == (69, "", 1)


def test_what_only_the_history_tells_is_in_top_alone(tmp_path: Path) -> None:
    with served(troubled()) as address:
        _, once, _ = worker("status", address, folder=tmp_path)
        _, top, _ = worker("top", address, folder=tmp_path)

    (status,) = (line.split() for line in once.splitlines() if line.startswith("delays "))
    (watched,) = (line.split() for line in top.splitlines() if line.startswith("delays "))
    assert ("in, last 15 min" in once, "in, last 15 min" in top) == (False, True)
    assert ("-" in status, "-" in watched) == (True, False)
