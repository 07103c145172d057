"""`worker doctor` as far as it goes without a broker."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.cli.rig import SPEC, shop, worker
from worker.cli.views import findings as views
from worker.cli.views.values import print_value
from worker.flow.doctor.facts import Facts, Source, Working
from worker.flow.doctor.finding import Finding, Severity
from worker.operate.diagnosis import Diagnosis, Examined, unreachable
from worker.settings import Pipeline
from worker.types import Problem, TopicPartition

PIPELINE = Pipeline.model_validate({"from": "orders", "handler": "double"})


def finding(severity: Severity, text: str = "its handlers\x1b[2J") -> Finding:
    return Finding(severity, "slow_handler", text, "10 a second", "raise it")


def diagnosis(*findings: Finding, lag: int = 200, done: int = 0) -> Diagnosis:
    source = Source(0, 900 + lag, 1_000 + lag, 1_000 - done, 1_000)
    sources = {TopicPartition("orders", 0): source}
    working = Working(shares={"poll": 0.25, "handler": 0.75})
    facts = Facts("doubles", "shop.doubles", PIPELINE, 10.0, sources, 1, working=working)
    return Diagnosis("shop", {"python": "3.11"}, pipelines=[Examined(facts, findings)])


def test_without_a_broker_it_ends_with_69(tmp_path: Path) -> None:
    shop(tmp_path, SPEC.replace("nowhere.invalid", "127.0.0.1"))

    code, out, err = worker("doctor", "shop.yaml", folder=tmp_path)

    assert (code, out) == (69, "")
    assert "no broker of 127.0.0.1:1 answered" in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--seconds", "0"), "0.0 is not in the range x>0"),
        (("http://",), "'http://' is no address such as http://host:8080"),
        (("host", "--url", "host"), "give URL or --url, not both"),
        (("--url", "http://"), "'http://' is no address such as http://host:8080"),
    ],
)
def test_what_cannot_be_asked_is_told_with_what_is_legal(
    tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    shop(tmp_path)

    code, out, err = worker("doctor", "shop.yaml", *arguments, folder=tmp_path)

    assert (code, out) == (2, "")
    assert text in " ".join(err.split())


def test_mistakes_of_the_spec_are_told_all_at_once(tmp_path: Path) -> None:
    shop(tmp_path, SPEC.replace("port: 0", "port: 99999").replace("name: shop", "nme: shop"))

    code, _, err = worker("doctor", "shop.yaml", folder=tmp_path)

    assert code == 78
    assert "shop.yaml:2:1: nme: " in err
    assert "shop.yaml:8:10: server.port: " in err


def test_a_finding_is_shown_with_its_evidence_and_one_piece_of_advice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    views.show(diagnosis(finding("problem")))

    out, err = capsys.readouterr()
    assert out == (
        "python 3.11\n"
        "\n"
        "doubles: a lag of 200; 10.0/s come, 0.0/s are finished: it does not get less\n"
        "  its time: handler 75%, poll 25%\n"
        "  problem: its handlers\\x1b[2J\n"
        "    evidence: 10 a second\n"
        "    advice:   raise it\n"
    )
    assert err == ""


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (diagnosis(lag=0), "no lag; 10.0/s come, 0.0/s are finished"),
        (diagnosis(lag=200, done=300), "none is left in 10 s"),
        (diagnosis(lag=200, done=100), "it does not get less"),
    ],
)
def test_the_lag_is_told_with_where_it_goes(found: Diagnosis, text: str) -> None:
    assert text in views.headline(found.pipelines[0].facts)


def test_only_problems_count_for_the_exit_code() -> None:
    unfit = Problem("shop.yaml", 3, 1, "pipelines.doubles.to", "topic 'doubles' does not exist")

    assert views.has_problems(diagnosis(finding("problem")))
    assert views.has_problems(Diagnosis("shop", {}, [unfit]))
    assert views.has_problems(Diagnosis("shop", {}, findings=[finding("problem")]))
    assert not views.has_problems(diagnosis(finding("warning")))


def test_programs_get_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_value(views.value_of(diagnosis(finding("problem"))), "json")

    told = json.loads(capsys.readouterr().out)["pipelines"]["doubles"]
    assert (told["lag"], told["arriving"], told["shares"]["poll"]) == (200, 10.0, 0.25)
    assert told["findings"][0]["evidence"] == "10 a second"


def test_a_broker_that_lets_no_connection_in_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as open_port:
        reachable = open_port.getsockname()
        assert unreachable({1: reachable}) == []

    (found,) = unreachable({1: reachable})

    assert found.what == "broker 1 cannot be reached from here"
    assert f"127.0.0.1:{reachable[1]}: " in found.evidence
