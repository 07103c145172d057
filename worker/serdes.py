"""Bytes to value and back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Protocol, Union, get_args, get_origin

import orjson
from pydantic import BaseModel, PydanticUserError, TypeAdapter

Decoder = Callable[[bytes], Any]
Encoder = Callable[[Any], bytes]


class Unsuitable(Exception):
    """A serde cannot make a value of the type that a handler asks for."""


class Serde(Protocol):
    """A format of payloads."""

    def decoder(self, kind: Any) -> Decoder:
        """A function from bytes to a value of type `kind`; raises `Unsuitable`."""

    def encode(self, value: Any) -> bytes:
        """The value's bytes; bytes are taken as encoded already.

        Raises TypeError or ValueError for a value that the format cannot hold.
        """


class Json:
    """JSON by orjson; typed payloads are validated while they are parsed."""

    def decoder(self, kind: Any) -> Decoder:
        if kind in (Any, object):
            return orjson.loads
        if kind is dict or (get_origin(kind) is dict and get_args(kind) == (str, Any)):
            return _json_object
        if _is_struct(kind):
            from msgspec.json import Decoder as OfStruct  # noqa: PLC0415 - optional extra

            return OfStruct(kind).decode
        try:
            return TypeAdapter(kind).validate_json
        except PydanticUserError as error:
            raise Unsuitable(
                f"{_name(kind)} cannot be read from JSON; legal are dict, a dataclass, "
                "a TypedDict, a pydantic model, a msgspec struct, plain types, bytes, str and "
                f"Message ({error.message.splitlines()[0]})"
            ) from error

    def encode(self, value: Any) -> bytes:
        return value if type(value) is bytes else orjson.dumps(value, _plain)


class String:
    """UTF-8 text."""

    def decoder(self, kind: Any) -> Decoder:
        if kind not in (Any, object, str):
            raise Unsuitable(f"decode: string gives str, not {_name(kind)}")
        return _text

    def encode(self, value: Any) -> bytes:
        if type(value) is bytes:
            return value
        if not isinstance(value, str):
            raise TypeError(f"encode: string takes str or bytes, not {type(value).__name__}")
        return value.encode()


class Bytes:
    """Bytes as they are."""

    def decoder(self, kind: Any) -> Decoder:
        if kind not in (Any, object):
            raise Unsuitable(f"decode: bytes gives bytes, not {_name(kind)}")
        return bytes

    def encode(self, value: Any) -> bytes:
        if type(value) is not bytes:
            raise TypeError(f"encode: bytes takes bytes, not {type(value).__name__}")
        return value


SERDES: Mapping[str, Serde] = {"json": Json(), "string": String(), "bytes": Bytes()}


def split_optional(kind: Any) -> tuple[Any, bool]:
    """The type without None, and whether None was allowed: `Flight | None` is `(Flight, True)`."""
    if kind in (Any, object):
        return kind, True
    if get_origin(kind) not in (Union, UnionType) or NoneType not in get_args(kind):
        return kind, False
    rest = tuple(part for part in get_args(kind) if part is not NoneType)
    return Union[rest], True  # noqa: UP007 - built at run time


def decoder(serde: Serde, kind: Any) -> Callable[[bytes | None], Any]:
    """A function from a payload, None for a tombstone, to a value of `kind`.

    bytes are never decoded. A tombstone reaches a handler whose type allows None; no format can
    decode one for the others. Raises `Unsuitable`.
    """
    kind, optional = split_optional(kind)
    decode: Callable[[Any], Any] = bytes if kind is bytes else serde.decoder(kind)

    def nullable(data: bytes | None) -> Any:
        return None if data is None else decode(data)

    return nullable if optional else decode


def _json_object(data: bytes) -> dict[str, Any]:
    value = orjson.loads(data)
    if type(value) is not dict:
        raise ValueError(f"a JSON {type(value).__name__}, not an object")
    return value


def _text(data: bytes) -> str:
    return data.decode()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if _is_struct(type(value)):
        from msgspec import to_builtins  # noqa: PLC0415 - optional extra

        return to_builtins(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _is_struct(kind: Any) -> bool:
    msgspec = sys.modules.get("msgspec")
    return msgspec is not None and isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", None) or str(kind)
