"""Whatever a handler raises or returns is a failure of its message, never of the pipeline."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.rig import Rig
from worker.errors import Reject

DEAD_LETTERS = {"dead_letter": {"default": "dlq", "message": True}}


class Silent(Exception):
    """An exception that cannot say what it is about."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Bare(Reject):
    """A rejection that says nothing at all."""

    def __init__(self) -> None:
        pass


def letters(rig: Rig) -> list[dict[str, bytes | None]]:
    """The headers of the dead letters, once everything is handled and the pipeline goes on."""
    rig.step()
    assert rig.runner.failed is None
    assert rig.runner.blocked is None
    assert not rig.runner.pressure.messages
    return [dict(letter.headers) for letter in rig.broker.records("dlq")]


@pytest.mark.parametrize(
    ("error", "reason", "text"),
    [
        (Reject(404), b"rejected", b"404"),
        (Reject({"a": 1}), b"rejected", b"{'a': 1}"),
        (Reject(b"x"), b"rejected", b"b'x'"),
        (Reject("\ud800"), b"rejected", b"\\ud800"),
        (Bare(), b"rejected", None),
        (ValueError("a\udfffb"), b"handler_error", b"a\\udfffb"),
        (Silent(), b"handler_error", b"(its text cannot be had: RuntimeError)"),
    ],
    ids=["number", "dict", "bytes", "surrogate", "bare", "error", "silent"],
)
def test_an_exception_becomes_a_dead_letter_whatever_it_has_to_say(
    error: Exception, reason: bytes, text: bytes | None
) -> None:
    def failing(payload: Any) -> None:
        raise error

    rig = Rig(failing, DEAD_LETTERS)
    rig.send("1")

    (headers,) = letters(rig)

    assert (headers["dlq.reason"], headers.get("dlq.message")) == (reason, text)
    assert rig.committed() == 1
