"""What crosses to the processes of a pool and back is the same at the other end."""

from __future__ import annotations

import marshal

import pytest

from worker.engine import wire
from worker.types import Done, Encoded, Failed, Failure, Outcome

RECORD = Encoded("topic", b"value", b"key", [("name", b"value"), ("none", None)], 3, 1_000)


@pytest.mark.parametrize(
    "outcome",
    [
        RECORD,
        Done(()),
        Done([RECORD, RECORD]),
        Failed(Failure("rejected", "Reject", "no", harmless=True)),
        Failed(Failure("handler_error", "OSError"), again=True),
        Failed(Failure("handler_error", "Retry"), again=True, delay=0.5),
    ],
)
def test_an_outcome_comes_back_as_it_was(outcome: Outcome) -> None:
    crossed = marshal.loads(marshal.dumps(wire.plain_outcome(outcome)))

    back = wire.outcome_of(crossed)

    if isinstance(outcome, Done):
        assert isinstance(back, Done)
        assert list(back.records) == list(outcome.records)
    else:
        assert back == outcome
