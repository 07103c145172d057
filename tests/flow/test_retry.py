"""What is tried again, and when."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.flow.retry import delay, is_retried
from worker.settings import BackoffSettings, RetrySettings


class Busy(ConnectionError):
    """An error of users' own."""


def retried(
    kind: type[BaseException] = ValueError, reason: str = "handler_error", **settings: Any
) -> bool:
    return is_retried(RetrySettings(**{"attempts": 3, **settings}), reason, kind)


@pytest.mark.parametrize("reason", ["handler_error", "timeout"])
def test_what_may_not_hold_another_time_is_tried_again(reason: str) -> None:
    assert retried(reason=reason)


@pytest.mark.parametrize("reason", ["rejected", "undecodable", "unencodable", "too_large", "crash"])
def test_what_would_be_the_same_another_time_is_not_tried_again(reason: str) -> None:
    assert not retried(reason=reason)


def test_nothing_is_tried_again_with_a_single_attempt() -> None:
    assert not retried(attempts=1)


def test_a_retry_topic_is_another_attempt() -> None:
    assert retried(attempts=1, topics=[60.0])
    assert not retried(attempts=1, topics=[60.0], reason="rejected")


@pytest.mark.parametrize(
    "name",
    [
        "Busy",
        "tests.flow.test_retry.Busy",
        "tests.flow.Busy",
        "tests.Busy",
        "ConnectionError",
        "builtins.ConnectionError",
        "OSError",
        "Exception",
    ],
)
def test_an_exception_goes_by_its_name_and_those_of_its_bases_bare_or_with_a_module(
    name: str,
) -> None:
    assert retried(Busy, on=[name])
    assert retried(Busy, on=["KeyError", name])
    assert not retried(Busy, give_up_on=[name])


@pytest.mark.parametrize("name", ["busy", "test_retry.Busy", "flow.Busy", "requests.Busy", "Bus"])
def test_it_goes_by_no_other_name(name: str) -> None:
    assert not retried(Busy, on=[name])
    assert retried(Busy, give_up_on=[name])


def test_a_package_may_stand_for_the_module_within_that_has_the_exception() -> None:
    assert json.JSONDecodeError.__module__ == "json.decoder"
    assert retried(json.JSONDecodeError, on=["json.JSONDecodeError"])


def test_giving_up_on_an_exception_counts_more_than_trying_again_on_its_base() -> None:
    assert not retried(Busy, on=["OSError"], give_up_on=["Busy"])
    assert retried(ConnectionError, on=["OSError"], give_up_on=["Busy"])


def test_each_wait_is_longer_until_the_longest() -> None:
    backoff = BackoffSettings(initial=0.2, max=1.5, multiplier=2, jitter=0)

    assert [delay(backoff, failures, 0.5) for failures in (1, 2, 3, 4, 5)] == [
        0.2,
        0.4,
        0.8,
        1.5,
        1.5,
    ]


@pytest.mark.parametrize(
    ("jitter", "shortest"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)], ids=["none", "half", "full"]
)
def test_jitter_takes_off_a_part_of_the_wait(jitter: float, shortest: float) -> None:
    backoff = BackoffSettings(initial=1.0, max=1.0, jitter=jitter)

    assert delay(backoff, 1, 0.0) == 1.0
    assert delay(backoff, 1, 1.0) == shortest


@given(
    initial=st.floats(0.001, 1e13),
    more=st.floats(0, 1e13),
    multiplier=st.floats(1, 10),
    jitter=st.floats(0, 1),
    failures=st.integers(1, 10**9),
    draw=st.floats(0, 1),
)
def test_no_wait_is_longer_than_the_longest_nor_negative(
    initial: float, more: float, multiplier: float, jitter: float, failures: int, draw: float
) -> None:
    longest = initial + more
    backoff = BackoffSettings(initial=initial, max=longest, multiplier=multiplier, jitter=jitter)

    assert 0 <= delay(backoff, failures, draw) <= longest
