"""What becomes of a process that has ended."""

from __future__ import annotations

import pytest

from worker.cli import exit_codes
from worker.flow import supervision
from worker.flow.health import PipelineState, Snapshot
from worker.flow.supervision import Ending, code_of, decide, is_up

RUNS = PipelineState("runs", "g", "running")
FAILED = PipelineState("failed", "g", "failed", failed="a poison pill")


def told(*pipelines: PipelineState) -> Snapshot:
    return Snapshot("n", "v", 0.0, 0.0, pipelines=pipelines)


@pytest.mark.parametrize("code", [78, 69, 3, 2])
def test_what_meets_every_process_alike_ends_the_whole(code: int) -> None:
    assert decide(Ending(code, None), is_up=False) == "end"
    assert decide(Ending(code, told(RUNS)), is_up=True) == "end"


@pytest.mark.parametrize("code", [-9, -11, 0, 4, 5, 139])
def test_a_process_that_was_killed_or_crashed_or_drained_alone_is_started_again(
    code: int,
) -> None:
    assert decide(Ending(code, None), is_up=False) == "restart"
    assert decide(Ending(code, told(RUNS)), is_up=True) == "restart"


def test_a_process_whose_pipelines_have_all_stopped_for_good_is_left_alone() -> None:
    assert decide(Ending(1, told(FAILED, FAILED)), is_up=True) == "leave"
    assert decide(Ending(1, told(FAILED, RUNS)), is_up=True) == "restart"
    assert decide(Ending(-9, told(FAILED)), is_up=True) == "restart"


@pytest.mark.parametrize("last", [None, told()])
def test_a_failure_to_set_up_ends_the_first_start_and_repeats_a_later_one(
    last: Snapshot | None,
) -> None:
    assert decide(Ending(1, last), is_up=False) == "end"
    assert decide(Ending(1, last), is_up=True) == "restart"


def test_a_process_is_up_when_its_pipelines_were_started() -> None:
    assert not is_up(None)
    assert not is_up(told())
    assert is_up(told(RUNS))


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 1], 1),
        ([1, 1], 1),
        ([0, 1, 4], 4),
        ([0, -9], 4),
        ([0, 3, 4], 3),
        ([69, 0], 69),
        ([0, 4, 78, 1], 78),
    ],
)
def test_the_worst_end_of_a_process_is_that_of_the_whole(codes: list[int], code: int) -> None:
    assert code_of(codes) == code


@pytest.mark.parametrize(
    ("code", "text"), [(78, "exit code 78"), (-9, "signal SIGKILL"), (-63, "signal 63")]
)
def test_an_ending_is_told_in_words(code: int, text: str) -> None:
    assert str(Ending(code, None)) == text


def test_the_rules_know_the_codes_of_the_table() -> None:
    assert (supervision.DRAINED, supervision.FAILED, supervision.FORCED) == (
        exit_codes.OK,
        exit_codes.FAILED,
        exit_codes.FORCED,
    )
    assert set(supervision.HOPELESS) == {
        exit_codes.BAD_CONFIGURATION,
        exit_codes.UNREACHABLE,
        exit_codes.FATAL,
        exit_codes.USAGE,
    }
