from __future__ import annotations

import pytest

from worker.observe.tracing import TraceContext
from worker.types import Encoded, Headers, StoredMessage

PARENT = ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
STATE = ("tracestate", b"vendor=1")


def headers(inherited: Headers, own: Headers = ()) -> list[object]:
    record = Encoded("topic", b"", headers=own)
    return list(TraceContext().headers_for(StoredMessage("source", headers=inherited), record))


def test_the_context_of_the_message_goes_on_and_nothing_else_does() -> None:
    assert headers([("user", b"x"), PARENT, STATE]) == [PARENT, STATE]


@pytest.mark.parametrize("own", [[PARENT], [STATE], [("traceparent", b"other")]])
def test_a_record_with_a_context_of_its_own_keeps_it_alone(own: Headers) -> None:
    assert headers([PARENT, STATE], own) == own


def test_a_record_with_other_headers_gets_the_context() -> None:
    assert headers([PARENT], [("user", b"y")]) == [("user", b"y"), PARENT]


def test_of_a_context_given_twice_the_last_one_goes_on() -> None:
    assert headers([("traceparent", b"old"), PARENT]) == [PARENT]


def test_a_state_without_a_parent_means_nothing() -> None:
    assert headers([STATE]) == []


def test_a_message_without_headers_adds_none() -> None:
    assert headers([]) == []
