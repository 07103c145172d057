"""Payloads that are made to take a parser down are undecodable, and no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from worker.serdes import SERDES, decoder


@dataclass
class Plain:
    n: int
    inner: list[Any] | None = None


class Model(BaseModel):
    n: int
    inner: list[Any] | None = None


class Struct(msgspec.Struct):
    n: int
    inner: list[Any] | None = None


REFUSALS = (ValueError, msgspec.MsgspecError, RecursionError)
"""What decoders raise; to the engine each is an undecodable message."""

DEEP = b"[" * 100_000 + b"]" * 100_000
PAYLOADS = {
    "nested": DEEP,
    "nested in an object": b'{"n": 1, "inner": ' + DEEP + b"}",
    "never closed": b'{"n":' * 100_000,
    "a number of a million digits": b'{"n": ' + b"9" * 1_000_000 + b"}",
    "half a character": b'{"n": "\xff"}',
    "half a surrogate pair": b'{"n": "\\ud800"}',
    "UTF-16": '{"n": 1}'.encode("utf-16"),
    "not a number": b'{"n": NaN}',
}


@pytest.mark.parametrize("kind", [Plain, Model, Struct])
@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_a_payload_that_is_made_to_do_harm_is_undecodable(kind: type, payload: bytes) -> None:
    decode = decoder(SERDES["json"], kind)

    with pytest.raises(REFUSALS):
        decode(payload)


def test_text_is_strict_utf_8() -> None:
    with pytest.raises(UnicodeDecodeError):
        decoder(SERDES["string"], str)(b"\xff")
