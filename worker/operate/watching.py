"""What a worker here or elsewhere says of itself over HTTP, checked before anybody shows it."""

from __future__ import annotations

from http.client import HTTPException
from typing import Any, Final, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel, Field, ValidationError

from worker.errors import NoWorker
from worker.flow.doctor.facts import Durations
from worker.flow.stuck import Progress
from worker.observe.text import escaped
from worker.settings import Server

VERSION: Final = 1
"""Of `/stats` and `/history`, as understood here."""
TIMEOUT: Final = 5.0
"""Seconds that a worker has for an answer."""
LONGEST: Final = 64 * 1024 * 1024
"""Bytes of an answer."""

EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared
"""Addresses for all of a machine, and which of them is asked; `::` takes no IPv4 in."""

HANDLING: Final = "worker_handler_duration_seconds"

Model = TypeVar("Model", bound=BaseModel)


class Overrun(BaseModel):
    """A message whose handler takes long."""

    topic: str
    partition: int
    offset: int
    seconds: float


class PartitionStats(BaseModel):
    """One assigned partition."""

    topic: str
    partition: int
    position: int
    committable: int
    committed: int | None
    end: int | None
    lag: int | None
    in_flight: int
    paused: bool
    paused_by: str | None = None
    held_by: int | None
    due_in: float | None
    fenced: int
    flooded: bool
    starts: int
    suspect: int | None
    at_work: int | None = None
    commit_age: float = 0.0
    at_hand: int | None = None
    at_hand_for: float = 0.0
    progress: Progress

    @property
    def is_stuck(self) -> bool:
        """Whether it has messages and does not get on whatever is done about it."""
        return self.progress in ("stuck", "hopeless")


class FailureStats(BaseModel):
    """Failures of one kind, and where the last of them is."""

    became: str
    reason: str
    error: str
    text: str
    count: int
    topic: str
    partition: int
    offset: int
    last: float


class CountStats(BaseModel):
    """Totals since the start of the process."""

    received: int
    handled: int = 0
    produced: int
    retried: int
    moved: int
    dead_lettered: dict[str, int]
    skipped: dict[str, int]


class FlowStats(BaseModel):
    """Where messages come from and go."""

    sources: list[str] = Field([], alias="from")
    handler: str = ""
    to: str | None = None


class PipelineStats(BaseModel):
    """One pipeline."""

    group: str
    status: str
    severity: int = 0
    reasons: list[str] = []
    connected: bool
    blocked: str | None
    hindered: str | None
    breaker_open: str | None
    overrunning: list[Overrun]
    longest: Overrun | None = None
    failed: str | None
    in_flight: int
    lag: int | None
    received_rate: float
    produced_rate: float
    counts: CountStats
    partitions: list[PartitionStats]
    flow: FlowStats = FlowStats()
    time: dict[str, float] = {}
    failures: list[FailureStats] = []


class ProcessStats(BaseModel):
    """One process of several."""

    process: int
    ended: str | None


class Stats(BaseModel):
    """A worker, as far as it is shown; docs/http.md describes every field."""

    version: int
    name: str
    worker: str
    now: float | None = None
    started: float
    ready: bool
    live: bool
    reasons: list[str]
    draining: bool
    pipelines: dict[str, PipelineStats]
    processes: list[ProcessStats] = []


class Past(BaseModel):
    """The last minutes, column by column."""

    version: int
    pipelines: dict[str, dict[str, list[float | None]]]


def stats_of(url: str) -> Stats:
    """Ask a worker for `/stats`; `url` is that of its endpoint. Raises `NoWorker`."""
    return _ask(url, "/stats", Stats)


def past_of(url: str) -> Past:
    """Ask a worker for `/history`. Raises `NoWorker`."""
    return _ask(url, "/history", Past)


def durations_of(url: str) -> dict[str, Durations]:
    """Ask a worker for `/metrics`: by pipeline how long messages were with its handler.

    Empty of a worker that does not measure that. Raises `NoWorker`.
    """
    found: dict[str, dict[float, int]] = {}
    totals: dict[str, float] = {}
    where = url + "/metrics"
    try:
        for family in text_string_to_metric_families(_answer(where).decode()):
            for sample in family.samples if family.name == HANDLING else ():
                name = sample.labels.get("pipeline", "")
                if sample.name.endswith("_bucket"):
                    buckets = found.setdefault(name, {})
                    buckets[float(sample.labels["le"])] = int(sample.value)
                elif sample.name.endswith("_sum"):
                    totals[name] = sample.value
    except (ValueError, KeyError) as error:
        raise _unlike(where, str(error)) from error
    return {name: Durations(buckets, totals.get(name, 0.0)) for name, buckets in found.items()}


def address_of(text: str) -> str | None:
    """The URL of an endpoint from what a user writes, such as `host:8080`; None if it is none."""
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        return None
    return url.partition("?")[0].partition("#")[0].rstrip("/")


def url_of(server: Server) -> str | None:
    """Where an endpoint answers on its own machine; None where it does not listen."""
    host = EVERYWHERE.get(server.host, server.host)
    there = f"[{host}]" if ":" in host else host
    return f"http://{there}:{server.port}" if server.port else None


def _ask(url: str, path: str, model: type[Model]) -> Model:
    where = url + path
    return _parsed(where, _answer(where), model)


def _answer(where: str) -> bytes:
    try:
        with urlopen(where, timeout=TIMEOUT) as answer:  # noqa: S310 - see `address_of`
            body: bytes = answer.read(LONGEST)
            return body
    except HTTPError as error:
        raise NoWorker(f"{where} answers {error.code} {escaped(error.reason)}") from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise NoWorker(f"no worker answers at {where}: {escaped(str(reason))}") from error


def _parsed(where: str, body: bytes, model: type[Model]) -> Model:
    try:
        found = model.model_validate_json(body)
    except ValidationError as error:
        first: Any = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the answer"
        raise _unlike(where, f"{place}: {first['msg']}") from error
    version = found.model_dump(include={"version"})["version"]
    if version != VERSION:
        raise NoWorker(
            f"{where} is of version {version}, and version {VERSION} is what is understood here: "
            "use the `worker top` of that worker's release"
        )
    return found


def _unlike(where: str, why: str) -> NoWorker:
    return NoWorker(f"{where} does not answer like a worker: {escaped(why)}")
