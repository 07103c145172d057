"""Payloads by annotation, and results back to bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from worker.serdes import SERDES, Unsuitable, decoder


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0


class Written(TypedDict):
    x: int


class Model(BaseModel):
    x: int


class Struct(msgspec.Struct):
    x: int


JSON = SERDES["json"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Any, {"x": 1}),
        (dict, {"x": 1}),
        (dict[str, Any], {"x": 1}),
        (dict[str, int], {"x": 1}),
        (Point, Point(1)),
        (Written, {"x": 1}),
        (Model, Model(x=1)),
        (Struct, Struct(1)),
        (bytes, b'{"x":1}'),
    ],
)
def test_a_payload_is_what_the_annotation_says(kind: Any, expected: object) -> None:
    assert decoder(JSON, kind)(b'{"x":1}') == expected


@pytest.mark.parametrize("kind", [dict[str, int], Point, Written, Model, Struct])
@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'{"x":"one"}', b"\xff", None])
def test_what_is_no_such_value_is_an_error(kind: Any, data: bytes | None) -> None:
    decode = decoder(JSON, kind)

    with pytest.raises((ValueError, TypeError)):
        decode(data)


@pytest.mark.parametrize("kind", [Any, dict | None, Point | None, str | None])
def test_a_tombstone_reaches_only_those_who_allow_for_it(kind: Any) -> None:
    assert decoder(JSON, kind)(None) is None


def test_text_and_bytes_are_for_handlers_that_take_them() -> None:
    assert decoder(SERDES["string"], str)("ü".encode()) == "ü"
    assert decoder(SERDES["bytes"], bytes)(b"\xff") == b"\xff"
    with pytest.raises(Unsuitable, match="decode: string gives str, not Point"):
        decoder(SERDES["string"], Point)
    with pytest.raises(Unsuitable, match="decode: bytes gives bytes, not dict"):
        decoder(SERDES["bytes"], dict)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"x": 1}, b'{"x":1}'),
        (Point(1), b'{"x":1,"y":0}'),
        (Model(x=1), b'{"x":1}'),
        (Struct(1), b'{"x":1}'),
        ("ü", '"ü"'.encode()),
        (b"raw", b"raw"),
    ],
)
def test_results_are_written_as_json_and_bytes_as_they_are(value: object, expected: bytes) -> None:
    assert JSON.encode(value) == expected


@pytest.mark.parametrize("serde", ["json", "string", "bytes"])
def test_what_a_format_cannot_hold_is_an_error(serde: str) -> None:
    with pytest.raises(TypeError):
        SERDES[serde].encode({1, 2})
