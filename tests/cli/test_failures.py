from __future__ import annotations

import pytest

from worker import errors
from worker.cli.failures import report
from worker.observe.logs import configure
from worker.types import Problem


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.WorkerError("x"), 1),
        (errors.PipelineFailed("x"), 1),
        (errors.QueueFull("x"), 1),
        (errors.ClientFatal("x"), 3),
        (errors.Fenced("x"), 3),
        (errors.BrokersUnreachable("x"), 69),
        (errors.BrokerFailed("x"), 69),
        (errors.CannotListen("x"), 78),
        (errors.BadConfiguration([]), 78),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_has_its_exit_code(error: errors.WorkerError, code: int) -> None:
    assert report(error) == code


def test_problems_are_printed_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    report(
        errors.BadConfiguration(
            [Problem("a.yaml", 1, 2, "name", "no"), Problem("a.yaml", 3, 4, "to", "never\x1b[2J")]
        )
    )

    assert capsys.readouterr() == ("", "a.yaml:1:2: name: no\na.yaml:3:4: to: never\\x1b[2J\n")


def test_another_error_is_announced_once(capsys: pytest.CaptureFixture[str]) -> None:
    report(errors.BrokerFailed("node 0 ended\nits log"))

    assert capsys.readouterr().err == "Error: node 0 ended\nits log\n"


@pytest.mark.usefixtures("own_log")
def test_no_error_shows_what_the_log_hides(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "text", secrets=["c4n4ry"])

    report(errors.WorkerError("the resource said c4n4ry, token=other"))
    report(errors.BadConfiguration([Problem("a.yaml", 1, 2, "password", "c4n4ry is too short")]))

    assert capsys.readouterr().err == (
        "Error: the resource said ***, token=***\na.yaml:1:2: password: *** is too short\n"
    )
