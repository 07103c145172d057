"""`worker explain` on a real Kafka: messages with a life behind them."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._resource import ResourceType  # not re-exported for type checkers

from tests.cli.rig import worker
from tests.system.guarded import USE, Guarded
from tests.system.rig import DEADLINE, Kafka, Spec, unique
from tests.system.test_transactions import write
from worker.operate import searching
from worker.operate.explaining import Explainer
from worker.operate.explanation import Scope
from worker.spec import load

pytestmark = pytest.mark.kafka

TRACE = "0af7651916cd43dd8448eb211c80319c"
Reply = tuple[int, str, str]


class Rig(Spec):
    """A spec with retry topics and dead letters, and the commands on it."""

    def __init__(self, kafka: Kafka, folder: Path) -> None:
        name = unique("life")
        settings = {
            "dead_letter": f"{name}.dlq",
            "ordering": "key",
            "retry": {"attempts": 2, "backoff": {"initial": "1ms"}, "topics": ["100ms"]},
        }
        super().__init__(kafka, folder, "need_file", settings, name=name)
        self.dead = f"{name}.dlq"
        kafka.create(self.source, self.target, self.dead)
        self.file = self.written(server={"port": 0})

    def send(self, key: str, payload: Any, partition: int = 0) -> None:
        """Write a message that belongs to a trace."""
        producer = self.kafka.producer()
        context = f"00-{TRACE}-{secrets.token_hex(8)}-00"
        headers: dict[str, str | bytes | None] = {"traceparent": context}
        value = json.dumps(payload).encode()
        producer.produce(self.source, value, key.encode(), partition, headers=headers)
        assert producer.flush(DEADLINE) == 0

    def handle(self, finished: int) -> None:
        """Run the worker until so many are handled or dead letters."""
        with self.worker() as process:
            process.until(
                lambda: process.count("handled") + sum(_dead_lettered(process)) >= finished
            )
            assert process.stop() == 0

    def dlq(self, command: str, *arguments: str) -> None:
        code, _, err = worker(
            "dlq", command, self.dead, "--spec", self.file, "--yes", *arguments, folder=self.folder
        )
        assert code == 0, err

    def explain(self, *arguments: str) -> Reply:
        return worker("explain", *arguments, "--spec", self.file, folder=self.folder)

    def told(self, *arguments: str) -> dict[str, Any]:
        """What it says in JSON of something that is to be found."""
        code, out, err = self.explain(*arguments, "--output", "json")
        assert code == 0, err
        return dict(json.loads(out))

    def life(self, *arguments: str) -> dict[str, Any]:
        (life,) = self.told(*arguments)["lives"]
        return dict(life)


def _dead_lettered(process: Any) -> list[int]:
    counts = process.pipeline().get("counts", {})
    return list(counts.get("dead_lettered", {}).values())


def kinds(life: dict[str, Any]) -> list[str]:
    return [step["kind"] for step in life["steps"]]


def test_a_message_that_was_retried_dead_lettered_and_redriven_is_told_to_its_result(
    kafka: Kafka, tmp_path: Path
) -> None:
    rig = Rig(kafka, tmp_path)
    file = tmp_path / "there"
    rig.send("k", {"id": 1, "file": str(file)}, partition=2)
    rig.send("other", {"id": 2, "file": str(tmp_path)}, partition=2)
    rig.handle(2)

    failed = rig.life(f"{rig.source}/2/0")

    assert kinds(failed) == ["written", "failed", "moved", "dead_lettered"]
    assert [step["attempts"] for step in failed["steps"]] == [None, None, 2, 3]
    assert {step["error"] for step in failed["steps"][2:]} == {"FileNotFoundError"}
    assert failed["standing"]["state"] == "dead"

    file.touch()
    rig.dlq("redrive")
    rig.handle(1)

    life = rig.life(f"{rig.source}/2/0")
    assert kinds(life) == [*kinds(failed), "redriven", "result"]
    assert life["standing"]["state"] == "finished"
    assert life["steps"][-1]["topic"] == rig.target
    assert life["steps"][-1]["found_by"] == "trace"
    assert (life["group"], life["key"], life["trace"]) == (rig.group, "k", TRACE)

    places = [
        f"{step['place']['topic']}/{step['place']['partition']}/{step['place']['offset']}"
        for step in life["steps"][2:5]
    ]
    for place in places:
        assert rig.life(place) == life
    result = life["steps"][-1]["place"]
    of_result = rig.told(f"{rig.target}/{result['partition']}/{result['offset']}")
    assert life in of_result["lives"]
    assert rig.life("--key", "k") == life
    by_trace = rig.told("--trace", TRACE)
    assert [one["offset"] for one in by_trace["lives"]] == [0, 1]
    code, out, err = rig.explain(f"{rig.source}/2/0")
    assert code == 0
    assert f"{rig.source}/2/0\n  pipeline pipeline, group {rig.group}\n" in out
    assert "finished, at" in out
    assert "FileNotFoundError" in out
    assert "looked in 4 topics" in err


def test_dead_letters_that_were_parked_and_dropped_and_what_waits_are_told_apart(
    kafka: Kafka, tmp_path: Path
) -> None:
    rig = Rig(kafka, tmp_path)
    for key in ("parked", "dropped", "sent"):
        rig.send(key, {"id": 1, "file": str(tmp_path / "nowhere")})
    rig.handle(3)
    rig.dlq("park", "--key", "parked")
    rig.dlq("drop", "--key", "dropped")
    rig.dlq("redrive", "--key", "sent", "--to", "origin")

    states = {key: rig.life("--key", key) for key in ("parked", "dropped")}
    sent = rig.told("--key", "sent")["lives"]

    assert {key: one["standing"]["state"] for key, one in states.items()} == {
        "parked": "parked",
        "dropped": "dropped",
    }
    assert kinds(states["parked"])[-1] == "parked"
    assert [one["offset"] for one in sent] == [2, 3]
    assert kinds(sent[0])[-1] == "sent_again"
    assert sent[0]["standing"]["state"] == sent[1]["standing"]["state"] == "unfinished"
    assert kinds(rig.life(f"{rig.source}/0/2"))[-1] == "sent_again"


def test_what_no_handler_is_given_is_said_to_be_so(kafka: Kafka, tmp_path: Path) -> None:
    rig = Rig(kafka, tmp_path)
    write(kafka, rig.source, 1, 4)
    running = kafka.producer({"transactional.id": unique("open")})
    running.init_transactions(30)
    running.begin_transaction()
    running.produce(rig.source, b"{}", partition=0)
    assert running.flush(30) == 0

    missing = {
        offset: rig.explain(f"{rig.source}/0/{offset}", "--output", "json") for offset in range(5)
    }
    running.abort_transaction(30)

    told = {offset: json.loads(out)["lives"][0] for offset, (_, out, _) in missing.items()}
    assert {offset: one["missing"] for offset, one in told.items()} == {
        0: "aborted",
        1: "aborted",
        2: "gap",
        3: "open",
        4: "ahead",
    }
    assert {offset: code for offset, (code, _, _) in missing.items()} == {
        0: 0,
        1: 0,
        2: 1,
        3: 0,
        4: 1,
    }
    assert told[0]["standing"]["state"] == "not_begun"
    code, out, _ = rig.explain(f"{rig.source}/0/0")
    assert (code, "its transaction was aborted" in out) == (0, True)
    rig.file = rig.written(server={"port": 0}, isolation="read_uncommitted")
    assert rig.life(f"{rig.source}/0/0")["missing"] is None


def test_a_message_that_retention_has_deleted_is_told_of_by_its_dead_letter(
    kafka: Kafka, tmp_path: Path
) -> None:
    rig = Rig(kafka, tmp_path)
    rig.send("k", {"id": 1, "file": str(tmp_path / "nowhere")})
    rig.send("other", {"id": 2, "file": str(tmp_path)})
    rig.handle(2)
    client = AdminClient({"bootstrap.servers": kafka.address})
    for future in client.delete_records([TopicPartition(rig.source, 0, 2)]).values():
        future.result()

    life = rig.life(f"{rig.source}/0/0")
    code, out, err = rig.explain(f"{rig.source}/0/1")

    assert (life["missing"], kinds(life)) == (
        "expired",
        ["failed", "moved", "dead_lettered"],
    )
    assert code == 1
    assert "its record is no longer kept" in out
    assert "nothing was found" in err


def test_what_may_not_be_read_is_told_and_the_rest_is_found(
    guarded: Guarded, tmp_path: Path
) -> None:
    rig = Rig(guarded.kafka, tmp_path)
    rig.send("k", {"id": 1, "file": str(tmp_path)})
    rig.handle(1)
    spec = yaml.safe_load(rig.file.read_text())
    rig.file.write_text(yaml.safe_dump({**spec, "kafka": guarded.settings}))
    describe, read, _ = USE
    guarded.grant(rig.source, ResourceType.TOPIC, [describe, read])
    guarded.grant(rig.target, ResourceType.TOPIC, [describe])

    told = rig.told("--key", "k")

    (life,) = told["lives"]
    assert (kinds(life), life["standing"]) == (["written"], None)
    assert f"grant this user Describe on group {rig.group}" in told["unread"][rig.group]
    assert f"grant this user Read on topic {rig.target}" in told["unread"][rig.target]
    guarded.grant(rig.target, ResourceType.TOPIC, [read])
    guarded.grant(rig.group, ResourceType.GROUP, [describe])
    tier = f"{rig.group}.retry.0"
    assert set(rig.told("--key", "k")["unread"]) == {tier, rig.dead}
    life = rig.life(f"{rig.source}/0/0")
    assert (life["standing"]["state"], life["unread"]) == ("finished", [tier, rig.dead])

    guarded.grant(rig.dead, ResourceType.TOPIC, [describe, read])
    guarded.grant(tier, ResourceType.TOPIC, [describe, read])
    assert rig.told("--key", "k")["unread"] == {}
    assert rig.life(f"{rig.source}/0/0")["unread"] == []


def test_of_a_dead_letter_that_may_not_be_read_it_is_not_said_what_became(
    guarded: Guarded, tmp_path: Path
) -> None:
    rig = Rig(guarded.kafka, tmp_path)
    rig.send("k", {"id": 1, "file": "/nowhere"})
    rig.handle(1)
    spec = yaml.safe_load(rig.file.read_text())
    rig.file.write_text(yaml.safe_dump({**spec, "kafka": guarded.settings}))
    for topic in (rig.source, rig.target, f"{rig.group}.retry.0"):
        guarded.grant(topic, ResourceType.TOPIC, USE)
    guarded.grant(rig.group, ResourceType.GROUP, USE)
    guarded.grant(rig.dead, ResourceType.TOPIC, USE[:1])

    code, out, _ = rig.explain(f"{rig.source}/0/0")

    assert code == 0
    assert "state    not known: its group is done with it at" in out
    assert f"may lie in {rig.dead}, " in out


def test_headers_lead_to_no_topic_that_the_spec_does_not_name(kafka: Kafka, tmp_path: Path) -> None:
    rig, secret = Rig(kafka, tmp_path), unique("secret")
    kafka.create(secret)
    kafka.produce(secret, [(b"k", b"{}", 0)])
    producer = kafka.producer()
    headers: dict[str, str | bytes | None] = {
        "dlq.topic": secret,
        "dlq.partition": "0",
        "dlq.offset": "0",
        "dlq.group": rig.group,
    }
    producer.produce(rig.dead, b"{}", b"k", 0, headers=headers)
    assert producer.flush(DEADLINE) == 0

    life = rig.life(f"{rig.dead}/0/0")

    assert (life["topic"], kinds(life)) == (secret, ["dead_lettered"])


def test_no_group_is_made_and_nothing_is_committed(kafka: Kafka, tmp_path: Path) -> None:
    rig = Rig(kafka, tmp_path)
    rig.send("k", {"id": 1, "file": str(tmp_path)})

    life = rig.life("--key", "k")

    assert life["standing"]["state"] == "not_begun"
    assert kafka.committed(rig.group, rig.source) == [-1001] * 4
    groups = AdminClient({"bootstrap.servers": kafka.address}).list_consumer_groups().result()
    assert rig.group not in {one.group_id for one in groups.valid}


def test_places_that_cannot_be_are_told_with_what_is_legal(kafka: Kafka, tmp_path: Path) -> None:
    rig = Rig(kafka, tmp_path)

    code, out, err = rig.explain(f"{rig.source}/9/0")
    assert (code, out) == (1, "")
    assert f"Error: topic {rig.source} has the partitions 0 to 3\n" in err
    code, out, err = rig.explain(f"{rig.source}x/0/0")
    assert (code, out) == (1, "")
    assert f"did you mean '{rig.source}'?" in err
    code, out, err = rig.explain(f"{rig.dead}/0/0")
    assert (code, out) == (1, "")
    assert f"{rig.dead}/0/0: nothing is written there yet\n" in err


def test_a_dead_letter_topic_that_is_gone_is_told_of(kafka: Kafka, tmp_path: Path) -> None:
    rig = Rig(kafka, tmp_path)
    rig.send("k", {"id": 1, "file": str(tmp_path)})
    rig.handle(1)
    kafka.delete(rig.dead)

    told = rig.told(f"{rig.source}/0/0")

    assert told["lives"][0]["standing"]["state"] == "finished"
    assert "there is no such topic" in told["unread"][rig.dead]
    code, out, err = rig.explain(f"{rig.dead}/0/0")
    assert (code, out) == (1, "")
    assert (
        f"topic {rig.dead} does not exist, or is not shown to this user; the spec names it" in err
    )


def test_reading_ends_when_its_time_is_over(kafka: Kafka, tmp_path: Path) -> None:
    rig = Rig(kafka, tmp_path)
    rig.send("k", {"id": 1, "file": str(tmp_path)})

    code, out, _ = rig.explain("--key", "k", "--seconds", "0.000001", "--output", "json")

    told = json.loads(out)
    assert code == 1
    assert "the time is over" in told["unread"][rig.source]


def test_reading_ends_when_what_is_kept_fills_its_room(
    kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(kafka, tmp_path)
    for number in range(5):
        rig.send("k", {"id": number})
    monkeypatch.setattr(searching, "KEPT", 3)
    progress: list[tuple[int, int]] = []

    found = Explainer(load(rig.file, {}).spec).of_key(
        b"k", Scope(), lambda done, every: progress.append((done, every))
    )

    assert [told.life.first.offset for told in found.lives] == [0, 1, 2]
    assert "3 records fit, look for less" in found.unread[rig.source]
    assert progress[-1] == (5, 5)


@pytest.mark.parametrize("asked", [("--trace", TRACE), ("--key", "k")])
def test_by_trace_or_key_is_found_what_is_found_for_the_place(
    kafka: Kafka, tmp_path: Path, asked: tuple[str, str]
) -> None:
    rig = Rig(kafka, tmp_path)
    rig.send("k", {"id": 1})
    (message,) = kafka.read(rig.source)
    headers: Any = message.headers()
    producer = kafka.producer()
    if asked[0] == "--trace":
        producer.produce(rig.target, b"{}", b"k")
    else:
        producer.produce(rig.target, b"{}", b"other", headers=headers)
    assert producer.flush(DEADLINE) == 0

    told = rig.told(*asked)

    (life,) = told["lives"]
    assert life == rig.life(f"{rig.source}/0/0")
    assert kinds(life) == ["written", "result"]
    assert told["others"] == []
    assert len(told["looked"]) == len(set(told["looked"]))


def test_the_trace_that_has_begun_at_a_message_leads_back_to_it_and_to_no_other(
    kafka: Kafka, tmp_path: Path
) -> None:
    rig, own = Rig(kafka, tmp_path), secrets.token_hex(16)
    for number in range(3):
        rig.send("k", {"id": number})
    handled = kafka.read(rig.source)[1]
    sent: Any = handled.headers()
    _, trace, span, _ = dict(sent)["traceparent"].decode().split("-")
    producer = kafka.producer()
    headers: dict[str, str | bytes | None] = {
        "traceparent": f"00-{own}-{secrets.token_hex(8)}-01",
        "tracestate": f"stream-worker={trace}-{span}",
    }
    producer.produce(rig.target, b"{}", b"other", headers=headers)
    assert producer.flush(DEADLINE) == 0

    told = rig.told("--trace", own)

    (life,) = told["lives"]
    assert (life["topic"], life["offset"]) == (rig.source, handled.offset())
    assert kinds(life) == ["written", "result"]
    assert told["others"] == []


def test_of_many_messages_the_latest_are_told_of(kafka: Kafka, tmp_path: Path) -> None:
    rig = Rig(kafka, tmp_path)
    for number in range(5):
        rig.send("k", {"id": number})

    told = rig.told("--key", "k", "--limit", "2")

    assert [life["offset"] for life in told["lives"]] == [3, 4]
    assert told["more"] == 3
