"""When a dependency counts as away."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import Retry
from worker.flow.breaker import Circuit, is_away
from worker.settings import BreakerSettings

SETTINGS = BreakerSettings(name="payments", failures=3, reset=30.0)


def failing(times: int, now: float = 0.0) -> Circuit:
    circuit = Circuit()
    for _ in range(times):
        circuit = circuit.failed(SETTINGS, now)
    return circuit


def test_it_opens_with_the_last_of_so_many_failures_in_a_row() -> None:
    assert not failing(2).is_open
    assert failing(3).is_open
    assert not failing(2).succeeded(0.0).failed(SETTINGS, 0.0).is_open


def test_while_it_is_open_one_message_may_go_after_each_reset() -> None:
    circuit = failing(3)

    assert not circuit.may_probe(29.9)
    assert circuit.may_probe(30.0)
    probing = circuit.probing(SETTINGS, 30.0)
    assert not probing.may_probe(59.9)
    assert probing.may_probe(60.0)


def test_a_probe_that_fails_keeps_it_open_for_another_reset_from_then_on() -> None:
    circuit = failing(3).probing(SETTINGS, 30.0).failed(SETTINGS, 40.0)

    assert not circuit.may_probe(69.9)
    assert circuit.may_probe(70.0)


def test_a_probe_that_succeeds_closes_it() -> None:
    circuit = failing(3).probing(SETTINGS, 30.0).succeeded(31.0)

    assert circuit == Circuit(recoveries=1)


def test_what_began_before_it_opened_and_comes_back_later_tells_nothing() -> None:
    circuit = failing(3)

    assert circuit.succeeded(1.0) == circuit
    assert circuit.failed(SETTINGS, 1.0).probe_at == circuit.probe_at


def test_only_a_success_after_a_failure_is_a_recovery() -> None:
    assert Circuit().succeeded(0.0).recoveries == 0
    assert failing(1).succeeded(0.0).succeeded(0.0).recoveries == 1


@given(st.lists(st.tuples(st.sampled_from(["fails", "succeeds", "looks"]), st.floats(0, 40))))
def test_whatever_comes_it_opens_by_failures_alone_and_never_stays_without_a_probe(
    events: list[tuple[str, float]],
) -> None:
    circuit, now = Circuit(), 0.0
    for event, passed in events:
        now += passed
        before = circuit
        match event:
            case "fails":
                circuit = circuit.failed(SETTINGS, now)
            case "succeeds":
                circuit = circuit.succeeded(now)
            case _ if circuit.may_probe(now):
                circuit = circuit.probing(SETTINGS, now)
        assert before.is_open or not circuit.is_open or event == "fails"
        assert circuit.is_open or circuit.failures < SETTINGS.failures
        assert not circuit.is_open or circuit.may_probe(now + SETTINGS.reset)


@pytest.mark.parametrize(
    ("on", "reason", "kind", "away"),
    [
        (None, "handler_error", ValueError, True),
        (None, "timeout", TimeoutError, True),
        (None, "handler_error", Retry, False),
        (None, "rejected", ValueError, False),
        (None, "undecodable", ValueError, False),
        (None, "crash", ValueError, False),
        (["OSError"], "handler_error", ConnectionError, True),
        (["OSError"], "handler_error", ValueError, False),
        (["OSError"], "rejected", ConnectionError, False),
        (["Retry"], "handler_error", Retry, True),
    ],
)
def test_failures_of_handlers_tell_of_it_those_that_are_named_if_any_are(
    on: Any, reason: str, kind: type[BaseException], *, away: bool
) -> None:
    assert is_away(SETTINGS.model_copy(update={"on": on}), reason, kind) is away


def test_without_a_breaker_nothing_tells_of_it() -> None:
    assert not is_away(None, "handler_error", ValueError)
