"""What `worker run` says of a spec that cannot be run here, and its exit code."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cli.rig import SPEC, shop, worker

SECURITY = 'kafka: {{brokers: "127.0.0.1:1", security: {{{}}}}}'


def run(folder: Path, kafka: str, *arguments: str, more: str = "") -> tuple[int, list[str]]:
    """The exit code, and the lines on standard error."""
    shop(folder, SPEC.replace('kafka: {brokers: "nowhere.invalid:1"}', kafka) + more)
    code, _, err = worker("run", "shop.yaml", *arguments, folder=folder)
    return code, err.splitlines()


@pytest.mark.parametrize(
    ("security", "path", "text"),
    [
        ("protocol: SSL, ca: /nope", "security.ca", "'/nope' cannot be read: No such file"),
        ("protocol: SSL, ca: /dev/zero", "security.ca", "'/dev/zero' cannot be read: it is no"),
        ("protocol: SSL, ca: {folder}/shop.yaml", "security.ca", "ssl.ca.location failed: "),
        (
            "protocol: SSL, certificate: /nope, key: {folder}/shop.yaml",
            "security.certificate",
            "'/nope' cannot be read: No such file",
        ),
        (
            "protocol: SSL, certificate: {folder}/shop.yaml, key: {folder}/shop.yaml",
            "security.certificate",
            "ssl.certificate.location failed: ",
        ),
        (
            "protocol: SASL_SSL, mechanism: PLAIN, username: '', password: x",
            "security.username",
            "is empty; at least one is needed",
        ),
        (
            "protocol: SASL_SSL, mechanism: PLAIN, username: x, password: ''",
            "security.password",
            "is empty; at least one is needed",
        ),
        (
            'protocol: SSL}}, librdkafka: {{"ssl.cipher.suites": NO-SUCH',
            "librdkafka.ssl.cipher.suites",
            "no cipher match",
        ),
    ],
)
def test_security_that_cannot_work_is_told_with_its_place(
    tmp_path: Path, security: str, path: str, text: str
) -> None:
    security = security.replace("{folder}", str(tmp_path)).replace("}}", "}").replace("{{", "{")

    code, (line,) = run(tmp_path, SECURITY.format(security))

    assert code == 78
    assert line.startswith("shop.yaml:3:")
    assert f": kafka.{path}: " in line
    assert text in line


@pytest.mark.kafka
def test_topics_that_the_cluster_refuses_to_make_are_told_with_their_places(
    tmp_path: Path, kafka_address: str
) -> None:
    topics = "topics:\n  orders: {replication: 10000}\n  large: {config: {nope: 1}}\n"

    code, lines = run(
        tmp_path, f'kafka: {{brokers: "{kafka_address}"}}', "--create-topics", more=topics
    )

    told = [line for line in lines if line.startswith("shop.yaml:")]
    assert code == 78
    assert "shop.yaml:10:3: topics.orders: topic 'orders' cannot be made: INVALID_REPL" in told[0]
    assert "shop.yaml:11:3: topics.large: topic 'large' cannot be made: INVALID_CONFIG" in told[1]
    assert len(told) == 2


def test_mistakes_that_only_a_process_finds_are_told_once_for_all_processes(
    tmp_path: Path,
) -> None:
    shop(tmp_path, SPEC.replace("handler: double,", "handler: doubel,"))

    code, out, err = worker("run", "shop.yaml", "--processes", "3", folder=tmp_path)

    assert (code, out) == (78, "")
    assert err.count("shop.yaml:") == 1, err
    assert "shop.yaml:6:27: pipelines.doubles.handler: no handler is named 'doubel'" in err


def test_a_port_that_is_taken_is_told_before_any_process_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        shop(tmp_path, SPEC.replace("port: 0", f"port: {port}"))

        code, _, err = worker("run", "shop.yaml", "--processes", "2", folder=tmp_path)

    assert code == 78
    (line,) = err.splitlines()
    assert line.startswith(f"Error: server: cannot listen on 127.0.0.1:{port}: ")


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("way", ["--listen", "WORKER_LISTEN"])
def test_where_to_listen_takes_the_place_of_what_the_spec_says(
    tmp_path: Path, way: str, processes: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        shop(tmp_path)
        option = [way, where] if way == "--listen" else []
        variables = {} if option else {way: where}

        code, _, err = worker(
            "run", "shop.yaml", "--processes", processes, *option, folder=tmp_path, **variables
        )

    assert code == 78
    assert f"Error: server: cannot listen on {where}: " in err
    assert "or --listen" in err


def test_where_nobody_can_listen_is_a_wrong_command_line(tmp_path: Path) -> None:
    shop(tmp_path)

    code, out, err = worker("run", "shop.yaml", "--listen", "8080", folder=tmp_path)

    assert (code, out) == (2, "")
    assert "Error: Invalid value for '--listen'" in err
    assert "'8080' is not HOST:PORT such as 0.0.0.0:8080 or [::]:8080" in err


@pytest.mark.parametrize("number", ["0", "-1", "two", "1.5", "1000"])
def test_an_impossible_number_of_processes_is_a_wrong_command_line(
    tmp_path: Path, number: str
) -> None:
    shop(tmp_path)

    given = worker("run", "shop.yaml", f"--processes={number}", folder=tmp_path)
    set_ = worker("run", "shop.yaml", folder=tmp_path, WORKER_PROCESSES=number)

    for code, out, err in (given, set_):
        assert (code, out) == (2, "")
        assert "Error: Invalid value for '--processes'" in err
        assert number in err


def test_worker_dev_is_always_one_process(tmp_path: Path) -> None:
    shop(tmp_path)

    code, _, err = worker("dev", "shop.yaml", "--processes", "2", folder=tmp_path)

    assert code == 2
    assert "No such option" in err
    assert "--processes" in err


def test_numbers_that_no_topic_can_have_are_told_by_the_spec(tmp_path: Path) -> None:
    topics = "topics: {orders: {partitions: 99999999999, replication: 40000}}\n"

    code, lines = run(tmp_path, 'kafka: {brokers: "127.0.0.1:1"}', more=topics)

    assert code == 78
    assert [line.rpartition("legal is ")[2] for line in lines] == [
        "at most 100000",
        "at most 10000",
    ]
