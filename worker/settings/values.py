"""The types of the spec's values: durations, sizes, names, addresses."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from keyword import iskeyword
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
)

from worker.settings.patterns import flaw, is_pattern

_DURATION_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE_UNITS = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
_DURATION = r"^\d{1,9}(\.\d{1,9})?(ms|s|m|h|d)$"
_SIZE = r"^\d{1,9}(\.\d{1,9})?\s?(B|kB|KB|MB|GB|KiB|MiB|GiB)$"
_RATE = r"^\d{1,9}(\.\d{1,9})?/(s|m|h)$"
_TOPIC = r"^[a-zA-Z0-9._-]{1,249}$"
_SOURCE = r"^([a-zA-Z0-9._-]{1,249}|\^.+)$"
_BROKER = r"^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5}$"
_HOST = r"^[A-Za-z0-9._-]{1,253}$"
_LANE = r"^(headers\.\S{1,200}|[A-Za-z_]\w{0,99})$"
LAST_PORT = 65535
NAME = r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}$"

_MODULE = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"

LOOPBACK = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\]):\d+")
"""Addresses of this machine, where nobody else can listen."""

WRITTEN = {"written": True}
"""Context of a validation of what was written: plain numbers, legal in Python, need their unit."""


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf


def _with_unit(value: Any, pattern: str, units: Mapping[str, float], legal: str) -> float:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ValueError(f"{value!r} is not {legal}")
    number, unit = re.match(r"([\d.]+)\s?(\w+)", value).groups()  # type: ignore[union-attr]
    return float(number) * units[unit]


def duration(value: Any, info: ValidationInfo) -> float:
    """Seconds from a text such as `200ms`, `10s`, `5m`, `1h` or `7d`."""
    if _is_number(value) and info.context != WRITTEN:
        return float(value)
    return _with_unit(value, _DURATION, _DURATION_UNITS, "a duration such as 200ms, 10s, 5m")


def size(value: Any, info: ValidationInfo) -> int:
    """Bytes from a text such as `512KiB` or `32MiB`."""
    if type(value) is int and _is_number(value) and info.context != WRITTEN:
        return value
    return int(_with_unit(value, _SIZE, _SIZE_UNITS, "a size such as 512KiB or 32MiB"))


def rate(value: Any, info: ValidationInfo) -> float:
    """Messages a second from a text such as `500/s`, `30/m` or `1000/h`."""
    if _is_number(value) and info.context != WRITTEN:
        return float(value)
    legal = "a rate such as 500/s, 30/m, 1000/h"
    if not isinstance(value, str) or not re.fullmatch(_RATE, value):
        raise ValueError(f"{value!r} is not {legal}")
    number, _, unit = value.partition("/")
    if not float(number):
        raise ValueError(f"{value!r} lets nothing through; legal is {legal}")
    return float(number) / _DURATION_UNITS[unit]


def _lane(value: str) -> str:
    if not re.fullmatch(_LANE, value):
        raise ValueError(f"{value!r} is not key, headers.NAME or the name of a function")
    return value


def _source(value: str) -> str:
    if not is_pattern(value):
        return _topic(value)
    problem = flaw(value)
    if problem is not None:
        raise ValueError(f"{value!r} {problem}")
    return value


def is_topic(name: str) -> bool:
    """Whether Kafka takes this for the name of a topic."""
    return re.fullmatch(_TOPIC, name) is not None and name not in {".", ".."}


def growing(durations: list[float]) -> list[float]:
    """The durations; raises `ValueError` unless each is longer than the one before."""
    for before, after in pairwise(durations):
        if after <= before:
            raise ValueError(
                f"each must be longer than the one before; {after:g}s follows {before:g}s"
            )
    return durations


def _topic(value: str) -> str:
    if not is_topic(value):
        raise ValueError(
            f"{value!r} is not a topic name: letters, digits, '.', '_' and '-', 249 at most"
        )
    return value


def _module(value: str) -> str:
    if not re.fullmatch(_MODULE, value):
        raise ValueError(f"{value!r} is not the name of a Python module such as handlers.flights")
    return value


def _exception(value: str) -> str:
    if not all(part.isidentifier() and not iskeyword(part) for part in value.split(".")):
        legal = "the name of an exception such as TimeoutError or httpx.ConnectError"
        raise ValueError(f"{value!r} is not {legal}")
    return value


def _topics(value: Any) -> Any:
    if not isinstance(value, (str, list)):
        raise ValueError(f"{value!r} is not a topic, a pattern or a list of them")
    return [value] if isinstance(value, str) else value


def _version(value: Any) -> Any:
    if isinstance(value, (bool, float)):
        raise ValueError(f"{value!r} is not legal; legal is 1")
    return value


def _brokers(value: Any) -> Any:
    brokers = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(brokers, list) or not brokers:
        raise ValueError("give host:port, several with commas or as a list")
    for broker in brokers:
        if "@" in str(broker):
            raise ValueError("an address with a user or a scheme is not host:port")
        if not isinstance(broker, str) or not re.fullmatch(_BROKER, broker):
            raise PartProblem(broker, "is not host:port")
        if not 0 < int(broker.rpartition(":")[2]) <= LAST_PORT:
            raise PartProblem(broker, f"has a port that is not legal; legal are 1 to {LAST_PORT}")
    return brokers


def address(text: str) -> tuple[str, int]:
    """Host and port of HOST:PORT, the host without its brackets; port 0 is legal."""
    host, _, port = text.rpartition(":")
    if not re.fullmatch(_BROKER, text) or int(port) > LAST_PORT:
        raise ValueError(
            f"{text!r} is not HOST:PORT such as 0.0.0.0:8080 or [::]:8080, "
            f"with a port from 0 to {LAST_PORT}"
        )
    return host.strip("[]"), int(port)


def _start(value: Any) -> Any:
    if value in ("oldest", "newest") or isinstance(value, datetime):
        return value
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError(
            f"{value!r} is not oldest, newest or a time with its zone such as 2026-01-31T12:00:00Z"
        )
    return time


Duration = Annotated[
    float,
    BeforeValidator(duration),
    WithJsonSchema({"type": "string", "pattern": _DURATION, "examples": ["200ms", "10s"]}),
]
Size = Annotated[
    int,
    BeforeValidator(size),
    WithJsonSchema({"type": "string", "pattern": _SIZE, "examples": ["32MiB"]}),
]
Topic = Annotated[
    str, AfterValidator(_topic), WithJsonSchema({"type": "string", "pattern": _TOPIC})
]
ModuleName = Annotated[
    str, AfterValidator(_module), WithJsonSchema({"type": "string", "pattern": _MODULE})
]
Source = Annotated[
    str, AfterValidator(_source), WithJsonSchema({"type": "string", "pattern": _SOURCE})
]
ExceptionName = Annotated[str, AfterValidator(_exception)]
HostName = Annotated[str, Field(pattern=_HOST), AfterValidator(str.lower)]
HeaderName = Annotated[str, Field(min_length=1, max_length=200)]
Sources = Annotated[
    list[Source],
    Field(min_length=1),
    BeforeValidator(_topics),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": _SOURCE},
                {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": _SOURCE}},
            ]
        }
    ),
]
Rate = Annotated[
    float,
    BeforeValidator(rate),
    WithJsonSchema({"type": "string", "pattern": _RATE, "examples": ["500/s", "30/m"]}),
]
LaneName = Annotated[
    str, AfterValidator(_lane), WithJsonSchema({"type": "string", "pattern": _LANE})
]
Version = Annotated[Literal[1], BeforeValidator(_version)]
SerdeName = Literal["json", "string", "bytes"]
Brokers = Annotated[
    list[str],
    BeforeValidator(_brokers),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "minItems": 1, "items": {"type": "string"}},
            ]
        }
    ),
]
StartPlace = Annotated[
    Literal["oldest", "newest"] | datetime,
    BeforeValidator(_start),
    WithJsonSchema({"type": "string", "examples": ["oldest", "newest", "2026-01-31T12:00:00Z"]}),
]


class PartProblem(ValueError):
    """A mistake in a part of a value, which is named unless the value is a secret."""

    def __init__(self, part: object, words: str) -> None:
        super().__init__(f"{part!r} {words}")
        self.words = words


class ItemProblems(ValueError):
    """Mistakes in a mapping, each with the key that it belongs to."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = problems


class Model(BaseModel):
    """A part of the spec: unknown keys and near types are errors, and nothing changes later."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_by_name=True,
        hide_input_in_errors=True,  # an error about a part would show the secrets in it
    )
