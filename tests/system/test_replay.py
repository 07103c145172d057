"""`worker replay` on records of a real Kafka, beside what the worker makes of them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient

from tests.cli.rig import answering, environment, shop, worker
from tests.system.rig import DEADLINE, Kafka, Worker, free_port, unique
from tests.system.test_transactions import write

pytestmark = pytest.mark.kafka

HANDLERS = """
import asyncio
from threading import Event
from worker import Message, Record, Reject, Retry, handler, resource

@resource
def table():
    print("set up")
    yield {"factor": 2}
    print("torn down")

@handler
def double(order: dict, message: Message, table: dict) -> list | None:
    print("handling", message.topic, dict(message.headers).keys())
    number = order["number"]
    if number < 0:
        raise Reject("negative\\x1b[2J")
    if number == 0:
        return None
    if number == 7:
        fails(order)
    if number == 8:
        raise Retry(delay=45)
    return [{"number": number * table["factor"]},
            Record({"n": number}, topic="OTHER", key="k", headers=[("h", "v")])]

def fails(order):
    raise ValueError("seven")

@handler
async def later(order: dict) -> dict:
    await asyncio.sleep(0)
    if order["number"] == 7:
        raise ValueError("seven")
    return order

@handler
async def slow(order: dict) -> dict:
    await asyncio.sleep(0.3)
    return order

@handler
def stuck(order: dict) -> None:
    print("stuck", flush=True)
    Event().wait()

@handler(batch=10)
def together(orders: list[dict]) -> list[dict | None]:
    return [{"size": len(orders)}]
"""

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
Reply = tuple[int, str, str]


class Rig:
    """A spec with retry topics and dead letters in a folder with its handlers."""

    def __init__(self, kafka: Kafka, folder: Path) -> None:
        self.kafka, self.folder = kafka, folder
        self.name = unique("shop")
        self.source, self.target = f"{self.name}.orders", f"{self.name}.doubles"
        self.other, self.dead = f"{self.name}.other", f"{self.name}.dlq"
        self.group, self.tier = f"{self.name}.doubles", f"{self.name}.doubles.retry.0"
        kafka.create(self.source, self.target, self.other, self.dead)
        self.module = self.name.replace("-", "_")
        (folder / f"{self.module}.py").write_text(HANDLERS.replace("OTHER", self.other))
        self.file = folder / "shop.yaml"
        self.write()

    def write(self, more: dict[str, Any] | None = None, **pipeline: Any) -> None:
        """Write the spec, with further pipelines, or keys of the one that there is."""
        doubles = {
            "from": self.source,
            "handler": "double",
            "to": self.target,
            "dead_letter": self.dead,
            "ordering": "key",
            "retry": {
                "attempts": 2,
                "backoff": {"initial": "1ms"},
                "topics": ["100ms"],
                "keep_order": False,
            },
            **pipeline,
        }
        spec = {
            "version": 1,
            "name": self.name,
            "kafka": {"brokers": self.kafka.address},
            "handlers": [self.module],
            "topics": {self.other: {}},
            "pipelines": {
                "doubles": {name: one for name, one in doubles.items() if one is not None},
                **(more or {}),
            },
            "server": {"port": 0},
        }
        self.file.write_text(yaml.safe_dump(spec))

    def send(self, *values: bytes) -> None:
        """Write messages into partition 0, each with a trace."""
        producer = self.kafka.producer()
        headers: dict[str, str | bytes | None] = {"traceparent": TRACE, "own": "1"}
        for value in values:
            producer.produce(self.source, value, b"key", 0, headers=headers)
        assert producer.flush(DEADLINE) == 0

    def handle(self, finished: int) -> None:
        """Run the worker until so many are handled or dead letters."""
        port = free_port()
        spec = {**yaml.safe_load(self.file.read_text()), "server": {"port": port}}
        file = self.folder / "running.yaml"
        file.write_text(yaml.safe_dump(spec))
        with Worker(file, port, {"WORKER_PATH": str(self.folder)}) as process:
            process.until(lambda: _through(process.pipeline("doubles")) >= finished)
            assert process.stop() == 0

    def replay(self, place: str, *arguments: str) -> Reply:
        return worker("replay", place, "--spec", self.file, *arguments, folder=self.folder)

    def debug(self, place: str, *arguments: str, given: str = "") -> Reply:
        """Replay at a terminal on which somebody types this."""
        command = ("replay", place, "--spec", str(self.file), *arguments)
        done = answering(given, *command, folder=self.folder)
        return done.returncode, done.stdout, done.stderr

    def told(self, place: str, *arguments: str) -> dict[str, Any]:
        _, out, err = self.replay(place, *arguments, "--output", "json")
        assert "Error" not in err, err
        return dict(json.loads(out))


def _through(pipeline: dict[str, Any]) -> int:
    counts: dict[str, Any] = pipeline.get("counts", {})
    return int(counts.get("handled", 0)) + sum(map(int, counts.get("dead_lettered", {}).values()))


@pytest.fixture
def rig(kafka: Kafka, tmp_path: Path) -> Rig:
    return Rig(kafka, tmp_path)


def as_told(message: Message, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """A record as `replay` tells it, but for headers with these names."""
    headers: Any = message.headers() or []
    key: Any = message.key()
    return {
        "topic": message.topic(),
        "key": key.decode(),
        "value": (message.value() or b"").decode(),
        "headers": [[name, value.decode()] for name, value in headers if name not in without],
    }


def told(record: dict[str, Any], *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    kept = {name: record[name] for name in ("topic", "key", "value")}
    return {**kept, "headers": [one for one in record["headers"] if one[0] not in without]}


TIMES = ("dlq.first_failure", "dlq.took", "retry.due", "retry.first_failure", "retry.took")


def test_it_tells_the_results_that_the_worker_would_send_and_sends_none(rig: Rig) -> None:
    rig.send(b'{"number": 3}')

    found = rig.told(f"{rig.source}/0/0")

    assert (found["became"], found["pipeline"], found["handler"]) == (
        "handled",
        "doubles",
        "double",
    )
    assert [message.value() for message in rig.kafka.read(rig.target)] == []
    assert rig.kafka.committed(rig.group, rig.source) == [-1001] * 4
    groups = AdminClient({"bootstrap.servers": rig.kafka.address}).list_consumer_groups().result()
    assert rig.group not in {one.group_id for one in groups.valid}
    rig.handle(1)
    sent = [*rig.kafka.read(rig.target), *rig.kafka.read(rig.other)]
    assert [told(record) for record in found["records"]] == [as_told(message) for message in sent]
    assert ["traceparent", TRACE] in found["records"][0]["headers"]


def test_it_tells_the_dead_letter_that_the_worker_would_write(rig: Rig) -> None:
    rig.send(b'{"number": -1}', b"no json")

    found = [rig.told(f"{rig.source}/0/{offset}") for offset in (0, 1)]

    assert [one["became"] for one in found] == ["dead_lettered"] * 2
    assert [one["failure"]["reason"] for one in found] == ["rejected", "undecodable"]
    rig.handle(2)
    letters = [as_told(one, without=TIMES) for one in rig.kafka.read(rig.dead)]
    assert [told(one["records"][0], without=TIMES) for one in found] == letters


def test_a_failure_is_followed_to_the_end_of_its_attempts_and_on_from_there(rig: Rig) -> None:
    rig.send(b'{"number": 7}')

    first = rig.told(f"{rig.source}/0/0")

    assert (first["became"], first["records"], first["failed_before"]) == ("tried_again", [], 0)
    assert first["failure"] == {"reason": "handler_error", "error": "ValueError", "text": "seven"}
    assert 0 <= first["due_in"] < 1
    assert first["finally"]["became"] == "moved"
    rig.handle(1)
    (waited,) = rig.kafka.read(rig.tier)
    moved = told(first["finally"]["records"][0], without=TIMES)
    assert moved == as_told(waited, without=TIMES)

    second = rig.told(f"{rig.tier}/0/0")

    assert (second["failed_before"], second["became"], second["finally"]) == (
        2,
        "dead_lettered",
        None,
    )
    (letter,) = rig.kafka.read(rig.dead)
    assert told(second["records"][0], without=TIMES) == as_told(letter, without=TIMES)


def test_a_dead_letter_is_given_as_it_is_once_it_was_redriven(rig: Rig) -> None:
    rig.send(b'{"number": 7}')
    rig.handle(1)

    (letter,) = rig.kafka.read(rig.dead)

    code, out, err = rig.replay(f"{rig.dead}/{letter.partition()}/0")

    assert code == 1
    assert out.startswith(f"{rig.group}.redrive/{letter.partition()}/0  ")
    assert "  dlq.redrives: 1\n" in out
    assert f"handling {rig.group}.redrive" in err
    assert f"  dlq.topic: {rig.source}\n" in out.partition("failed: ")[2]


def test_people_see_the_message_what_became_of_it_and_where_it_failed(rig: Rig) -> None:
    rig.send(b'{"number": -1}')

    code, out, err = rig.replay(f"{rig.source}/0/0")

    assert code == 1
    assert out.startswith(f"{rig.source}/0/0  ")
    assert "to double, as pipeline doubles gives it\n" in out
    assert rf"failed: rejected Reject: negative\x1b[2J; a dead letter in {rig.dead}, after " in out
    assert re.search(rf'{rig.module}\.py", line \d+, in double\n', err)
    assert "worker/engine" not in err
    assert "\x1b" not in out + err


def test_resources_are_set_up_and_torn_down_and_what_handlers_print_is_no_data(rig: Rig) -> None:
    rig.send(b'{"number": 0}')

    code, out, err = rig.replay(f"{rig.source}/0/0", "--output", "json")

    assert (code, json.loads(out)["records"]) == (0, [])
    assert [line.split()[0] for line in err.splitlines()] == ["set", "handling", "torn"]


def test_a_longer_wait_than_those_in_place_is_followed_too(rig: Rig) -> None:
    rig.send(b'{"number": 8}')

    found = rig.told(f"{rig.source}/0/0")

    assert (found["became"], round(found["due_in"])) == ("tried_again", 45)


@pytest.mark.parametrize(("on_error", "became"), [("skip", "skipped"), ("stop", "stopped")])
def test_without_dead_letters_it_is_skipped_or_stops_the_pipeline(
    rig: Rig, on_error: str, became: str
) -> None:
    rig.write(dead_letter=None, retry=None, on_error=on_error)
    rig.send(b'{"number": -1}')

    found = rig.told(f"{rig.source}/0/0")

    assert (found["became"], found["records"]) == (became, [])


@pytest.mark.parametrize("handler", ["later", "together"])
def test_handlers_of_every_kind_can_be_given_it(rig: Rig, handler: str) -> None:
    rig.send(b'{"number": 3}')

    found = rig.told(f"{rig.source}/0/0", "--handler", handler)

    expected = {"later": '{"number":3}', "together": '{"size":1}'}
    assert (found["became"], found["handler"]) == ("handled", handler)
    assert [one["value"] for one in found["records"]] == [expected[handler]]
    assert found["records"][0]["topic"] == rig.target


def test_a_timeout_counts_unless_somebody_debugs(rig: Rig) -> None:
    rig.write(timeout="50ms", handler="slow", retry=None)
    rig.send(b'{"number": 3}')

    found = rig.told(f"{rig.source}/0/0")

    assert found["failure"]["reason"] == "timeout"
    code, out, _ = rig.debug(f"{rig.source}/0/0", "--debug")
    assert (code, "handled: 1 result" in out) == (0, True)


@pytest.mark.parametrize("option", ["--debug", "--step"])
def test_without_a_terminal_there_is_no_debugging(tmp_path: Path, option: str) -> None:
    file = shop(tmp_path)

    code, out, err = worker("replay", "orders/0/0", "--spec", file, option, folder=tmp_path)

    assert (code, out) == (2, "")
    assert "--debug and --step need a terminal: the debugger takes its commands from" in err


def test_a_debugger_that_is_left_leaves_nothing_to_tell(rig: Rig) -> None:
    rig.send(b'{"number": 3}')

    code, out, err = rig.debug(f"{rig.source}/0/0", "--step", given="q")

    assert (code, "handled" in out) == (1, False)
    assert "Error: it was ended before the handler was through" in err


def test_a_handler_that_hangs_can_be_ended(rig: Rig) -> None:
    rig.send(b'{"number": 3}')
    arguments = [f"{rig.source}/0/0", "--spec", str(rig.file), "--handler", "stuck"]

    with subprocess.Popen(
        [sys.executable, "-m", "worker", "replay", *arguments],
        cwd=rig.folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "stuck\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert (process.returncode, "dead letter" in out) == (1, False)
    assert err == "Error: it was ended before the handler was through\n"


def test_a_handler_may_be_given_a_record_that_no_pipeline_reads(rig: Rig) -> None:
    rig.kafka.produce(rig.other, [(b"k", b'{"number": 3}', 0)])

    code, out, err = rig.replay(f"{rig.other}/0/0")
    assert (code, out) == (1, "")
    assert f"Error: no pipeline reads {rig.other}; --handler says what is to handle it" in err

    assert rig.told(f"{rig.other}/0/0", "--handler", "double")["pipeline"] == "doubles"
    found = rig.told(f"{rig.other}/0/0", "--handler", "later")
    assert (found["pipeline"], found["became"]) == ("later", "stopped")
    assert "a result without a topic" in found["failure"]["text"]


def test_of_several_pipelines_one_has_to_be_named(rig: Rig) -> None:
    rig.write({"more": {"from": rig.source, "handler": "later", "to": rig.other}})
    rig.send(b'{"number": 3}')
    place = f"{rig.source}/0/0"

    code, _, err = rig.replay(place)
    assert code == 1
    assert f"pipelines doubles, more read {rig.source}; --pipeline says which one" in err

    assert rig.told(place, "--pipeline", "more")["handler"] == "later"
    assert rig.told(place, "--handler", "later")["pipeline"] == "more"
    code, _, err = rig.replay(place, "--pipeline", "none")
    assert (code, "no pipeline is named 'none'; known are: doubles, more" in err) == (1, True)


def test_a_handler_that_is_not_there_is_told_with_one_that_is(rig: Rig) -> None:
    rig.send(b'{"number": 3}')

    code, out, err = rig.replay(f"{rig.source}/0/0", "--handler", "doubel")

    assert (code, out) == (78, "")
    assert "no handler is named 'doubel'; did you mean 'double'?" in err


def test_records_that_are_not_there_and_those_that_nobody_reads_are_told(rig: Rig) -> None:
    write(rig.kafka, rig.source, 1, 2)

    code, out, err = rig.replay(f"{rig.source}/3/5")
    assert (code, out) == (1, "")
    assert f"Error: {rig.source}/3/5: nothing is written there yet" in err
    code, _, err = rig.replay(f"{rig.source}/7/0")
    assert (code, "has the partitions 0 to 3" in err) == (1, True)
    code, _, err = rig.replay(f"{rig.source}x/0/0")
    assert (code, f"did you mean '{rig.source}'?" in err) == (1, True)
    _, _, err = rig.replay(f"{rig.source}/0/0")
    assert "its pipeline would not see it: its transaction was aborted" in err


def test_what_is_not_there_to_be_written_to_is_said(rig: Rig) -> None:
    rig.send(b'{"number": 3}')
    rig.write(to=f"{rig.target}.new")

    code, _, err = rig.replay(f"{rig.source}/0/0")

    assert code == 0
    assert f"not there yet: {rig.target}.new\n" in err


@pytest.mark.parametrize("handler", ["double", "later"])
def test_the_debugger_opens_where_the_handler_raises(rig: Rig, handler: str) -> None:
    rig.send(b'{"number": 7}')
    given = "p order['number'] * 6\nw\nq"

    code, out, _ = rig.debug(f"{rig.source}/0/0", "--debug", "--handler", handler, given=given)

    assert code == 1
    assert "(Pdb) 42\n" in out
    assert 'ValueError("seven")\n' in out
    assert "failed: handler_error ValueError: seven; " in out


@pytest.mark.parametrize("handler", ["double", "later"])
def test_the_debugger_opens_at_the_first_line_of_the_handler(rig: Rig, handler: str) -> None:
    rig.send(b'{"number": 5}')
    given = "order['number'] = 4\nc"

    code, out, _ = rig.debug(f"{rig.source}/0/0", "--step", "--handler", handler, given=given)

    assert code == 0
    assert f"{handler}()\n" in out
    assert f'"number": {8 if handler == "double" else 4}\n' in out


def test_without_a_failure_no_debugger_opens(rig: Rig) -> None:
    rig.send(b'{"number": 5}')

    code, out, _ = rig.debug(f"{rig.source}/0/0", "--debug")

    assert code == 0
    assert "(Pdb)" not in out
