"""What reads bytes of others: functions that take any bytes, and check what comes of them.

Hypothesis calls them in each run of the tests. By `python -m tests.fuzz TARGET` Atheris does, which
looks at the branches that are taken.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from worker.errors import BadConfiguration
from worker.flow import envelope, fence, headers, later, letters
from worker.flow.attempts import Tried
from worker.flow.crashes import Note
from worker.flow.deadletter import Origin, dead_letter
from worker.flow.ledger import Entry, Ledger
from worker.http import is_for, request_of
from worker.kafka.written import BadLine, message_of, object_of
from worker.settings import DeadLetterSettings
from worker.spec import check
from worker.types import Failure, Message

Target = Callable[[bytes], None]

END: Final = 2**63
COMMITTED: Final = 10
LIMIT: Final = 4_096
"""Bytes that a topic of dead letters takes."""
HEADERS: Final = sorted(
    later.NAMES
    | {
        name
        for writer in letters.WRITERS.values()
        for names in (*writer.texts.values(), *writer.numbers.values())
        for name in names
    }
    | {"dlq.redrives", "traceparent", "tracestate"}
)
"""Names that are looked at, whoever has written them."""


def message(data: bytes) -> Message:
    """One with a header of each part between zero bytes, whose first byte chooses the name."""
    found = [
        (HEADERS[part[0] % len(HEADERS)], part[1:]) for part in data.split(b"\0") if len(part) > 0
    ]
    return Message.of(
        data, topic="spec.pipeline.retry.0", partition=1, offset=2, timestamp=3, headers=found
    )


def headers_of(names: Mapping[str, bytes]) -> bytes:
    """The bytes of which `message` makes these headers."""
    return b"\0".join(bytes([HEADERS.index(name)]) + value for name, value in names.items())


def spec(data: bytes) -> None:
    """Any file is a spec or has problems, each of them one line with its place."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "spec.yaml")
        file.write_bytes(data)
        try:
            documents, problems = check([file], {"KAFKA": "localhost:9092"})
        except BadConfiguration as error:
            documents, problems = [], list(error.problems)
        assert documents or problems
        for problem in problems:
            assert problem.line >= 1
            assert problem.column >= 1
            assert "\n" not in str(problem)


def header(data: bytes) -> None:
    """Numbers have 64 bits at most, texts are short, and nothing is raised."""
    found = message(data)
    history = later.history_of(found)
    for number in (history.partition, history.offset, history.attempts, later.due(found) or 0):
        assert 0 <= number < END
    assert -1 <= history.timestamp < END
    assert len(history.reason.encode()) <= headers.TEXT_LIMIT
    for context in (headers.context_of(found), headers.linked_of(found)):
        assert context is None or (len(context.trace), len(context.span)) == (32, 16)


def letter(data: bytes) -> None:
    """Any record can be read as a dead letter; one made of it is small enough, and says why."""
    found = message(data)
    before = letters.read(found)
    for number in (before.partition, before.offset, before.attempts, before.redrives):
        assert number is None or -END <= number < END
    made = dead_letter(
        found,
        Failure("handler_error", "ValueError", data.decode("utf-8", "replace")),
        Origin("group", "pipeline", "handler"),
        DeadLetterSettings(default="dlq", message=True),
        topic="dlq",
        limit=LIMIT,
        tried=Tried(1, 5),
    )
    read = letters.read(
        Message.of(made.value, topic="dlq", partition=0, offset=0, headers=made.headers)
    )
    assert (read.writer, read.reason, read.error) == (
        "stream-worker",
        "handler_error",
        "ValueError",
    )
    assert len(made.value or b"") < LIMIT


def offsets(data: bytes) -> None:
    """Whatever is beside a committed offset is no map, or one of ranges in order above it."""
    text = data.decode("utf-8", "replace")
    finished = envelope.decode(text, COMMITTED)
    if finished:
        bounds = [offset for one in finished for offset in one]
        assert bounds == sorted(set(bounds))
        assert bounds[0] > COMMITTED
        assert bounds[-1] <= END
    note = envelope.note_of(text, COMMITTED)
    assert note.suspect is None or note.suspect >= COMMITTED
    assert envelope.note_of(envelope.encode(COMMITTED, (), note), COMMITTED) == note


def ledger(data: bytes) -> None:
    """Of any record of the ledger's topic a dead letter is moved or not, and that is known."""
    key, _, value = data.partition(b"\0")
    known = Ledger("id")
    known.take(key, value)
    for place, entry in known.entries.items():
        assert all(0 <= number < 10**19 for number in place)
        assert isinstance(entry, Entry)
        assert isinstance(entry.fate, str)
        assert entry.to is None or isinstance(entry.to, str)
        assert type(entry.at) is int


def fences(data: bytes) -> None:
    """Any record of the log of fences is one that can be written again, or none."""
    found = fence.decode(data)
    if found is not None:
        source, lane = found
        assert fence.decode(fence.encode(source, lane)) == found
    tier = fence.tier_of(data)
    assert tier is None or 0 <= tier < 10**9


def request(data: bytes) -> None:
    """Any bytes are a request or none; one that names a foreign host is for nobody."""
    found = request_of(data + b"\r\n\r\n")
    if found is not None:
        assert " " not in found.method + found.path
        assert not any("evil" in host and is_for([host], ["localhost"]) for host in found.hosts)
        is_for(found.hosts, ["proxy.example"])


def line(data: bytes) -> None:
    """Any line of a file is a message that can be written again, or told to be none."""
    with suppress(BadLine):
        found = message_of(data)
        assert object_of(found)["topic"] == found.topic


SEEDS: Final[Mapping[str, Sequence[bytes]]] = {
    "spec": [Path(__file__).parents[2].joinpath("config/flights.yaml").read_bytes()],
    "header": [
        headers_of(
            {
                "retry.topic": b"flights",
                "retry.partition": b"3",
                "retry.offset": b"42",
                "retry.timestamp": b"-1",
                "retry.attempts": b"2",
                "traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            }
        )
    ],
    "letter": [
        headers_of({"dlq.topic": b"flights", "dlq.partition": b"3", "dlq.offset": b"42"}),
        headers_of({"kafka_dlt-original-topic": b"a", "kafka_dlt-original-offset": b"12345678"}),
    ],
    "offsets": [
        envelope.encode(COMMITTED, finished, Note("me", 2, 12, 1)).encode()
        for finished in ([(15, 40), (50, 90)], [(n, n + 1) for n in range(11, 99, 2)])
    ],
    "ledger": [
        b'1:2\0{"fate": "redriven", "to": "a", "at": 5, "topic_id": "id"}',
        b'1:2\0{"fate": [], "to": {}, "at": "5"}',
    ],
    "fences": [b"flights/3/0123456789abcdef", b"4"],
    "request": [b"GET /stats?a=1 HTTP/1.1\r\nHost: localhost:8080\r\nAccept: */*"],
    "line": [b'{"topic": "a", "partition": 1, "offset": 2, "key": "k", "headers": [["h", "v"]]}'],
}
"""Of each target what others are made of by changes."""

TARGETS: Final[Mapping[str, Target]] = {
    "spec": spec,
    "header": header,
    "letter": letter,
    "offsets": offsets,
    "ledger": ledger,
    "fences": fences,
    "request": request,
    "line": line,
}
