"""`worker dlq` on a real Kafka: each dead letter is moved once, whatever happens to the command."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclOperation  # not re-exported for type checkers
from confluent_kafka.admin._resource import ResourceType

from tests.cli.rig import answering, worker
from tests.system.guarded import USE, Guarded
from tests.system.rig import DEADLINE, ROOT, Kafka, Worker, free_port, ids, unique
from tests.system.test_transactions import write
from worker import Kafka as Client
from worker import TopicConfig
from worker.errors import ClientError, Fenced
from worker.flow.rate import Unlimited
from worker.flow.redrive import Selection
from worker.kafka import mover, transactional
from worker.kafka.mover import Progress
from worker.operate.deadletters import DeadLetters, Plan
from worker.spec import load

pytestmark = pytest.mark.kafka

PARTITIONS = 4
Reply = tuple[int, str, str]


class Shop:
    """A spec whose pipeline `orders` has dead letters, and the commands on it.

    A second pipeline, `watch`, reads the same source.
    """

    def __init__(
        self, kafka: Kafka, folder: Path, start: str = "oldest", **topics: Mapping[str, Any]
    ) -> None:
        self.kafka, self.folder, self.name = kafka, folder, unique("shop")
        self.group, self.port = f"{self.name}.orders", free_port()
        self.source, self.dead = f"{self.name}.in", f"{self.name}.dlq"
        self.target, self.seen = f"{self.name}.out", f"{self.name}.seen"
        self.redrive, self.parked = f"{self.group}.redrive", f"{self.dead}.parked"
        orders = {"from": self.source, "to": self.target, "dead_letter": self.dead}
        self.file = folder / f"{self.name}.yaml"
        self.file.write_text(
            yaml.safe_dump(
                {
                    "version": 1,
                    "name": self.name,
                    "kafka": {"brokers": kafka.address},
                    "handlers": ["tests.system.handlers"],
                    "pipelines": {
                        "orders": {**orders, "handler": "need_file", "start": start},
                        "watch": {"from": self.source, "handler": "echo", "to": self.seen},
                    },
                    "topics": {f"{self.dead}.{name}": how for name, how in topics.items()},
                    "server": {"port": self.port},
                }
            )
        )
        there = (self.source, self.dead, self.target, self.seen)
        kafka.create(*there, partitions=PARTITIONS)

    def worker(self) -> Worker:
        """Start a process that runs both pipelines."""
        return Worker(self.file, self.port)

    def dead_letters(self) -> DeadLetters:
        return DeadLetters(load(self.file, {}).spec)

    def bury(self, number: int, **headers: str) -> None:
        """Write dead letters with ids from 0 on."""
        about = {"topic": self.source, "group": self.group, "reason": "timeout", **headers}
        producer = self.kafka.producer()
        for one in range(number):
            place = {"partition": str(one % PARTITIONS), "offset": str(one // PARTITIONS)}
            given = {f"dlq.{name}": value for name, value in (about | place).items()}
            producer.produce(
                self.dead,
                b'{"id":%d}' % one,
                b"key-%d" % one,
                one % PARTITIONS,
                headers=[("source", b"radar"), *given.items()],
            )
            producer.poll(0)
        assert producer.flush(DEADLINE) == 0

    def dlq(self, command: str, *arguments: str) -> Reply:
        """Run a command to its end."""
        given = () if command == "list" else (self.dead,)
        return worker("dlq", command, *given, "--spec", self.file, *arguments, folder=self.folder)

    def moved(self, *arguments: str) -> dict[str, Any]:
        """Run a redrive that has to succeed; returns what it says in JSON."""
        code, out, err = self.dlq("redrive", "--yes", "--output", "json", *arguments)
        assert code == 0, err
        return dict(json.loads(out))

    @contextmanager
    def redriving(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A redrive that runs beside the test, and is killed at the end of the block."""
        command = ["redrive", self.dead, "--spec", str(self.file), "--yes", *arguments]
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", "dlq", *command],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def written(self) -> int:
        """Records and ends of transactions in the topic of redriven ones; 0 before it is there."""
        try:
            return sum(self.kafka.ends(self.redrive, 1))
        except KafkaException:
            return 0


def planned(shop: Shop) -> tuple[DeadLetters, Plan]:
    """A redrive of all dead letters in this process."""
    dead_letters = shop.dead_letters()
    decide = dead_letters.redrive(shop.dead, None, 3)
    return dead_letters, dead_letters.plan(shop.dead, Selection(), decide, None)


def headers(message: Message) -> dict[str, Any]:
    return dict(message.headers() or {})


def until(process: subprocess.Popen[bytes], shop: Shop, written: int) -> None:
    """Wait until so much is written, or the command has ended."""
    deadline = time.monotonic() + DEADLINE
    while process.poll() is None and shop.written() < written:
        assert time.monotonic() < deadline


def once(shop: Shop, number: int, kills: int, rate: int) -> None:
    """Kill a redrive again and again on its way through its dead letters; then let one end."""
    shop.bury(number)
    killed = 0
    for kill in range(kills):
        with shop.redriving("--rate", str(rate)) as process:
            until(process, shop, number * (kill + 1) // (kills + 2))
            killed += process.poll() is None

    last = shop.moved()

    found = shop.kafka.read(shop.redrive)
    assert killed == kills
    assert sum(one["count"] for one in last["moved"]) < number
    assert sorted(ids(found)) == list(range(number))
    assert Counter(headers(one)["dlq.redrives"] for one in found) == {b"1": number}


@pytest.mark.timeout(300)
def test_a_redrive_that_is_killed_twice_has_moved_each_dead_letter_once(
    kafka: Kafka, tmp_path: Path
) -> None:
    once(Shop(kafka, tmp_path), 2_000, kills=2, rate=1_000)


@pytest.mark.long
def test_a_redrive_of_100_000_that_is_killed_five_times_has_moved_each_dead_letter_once(
    kafka: Kafka, tmp_path: Path
) -> None:
    once(Shop(kafka, tmp_path), 100_000, kills=5, rate=20_000)


def test_a_redrive_moves_what_is_meant_and_a_second_one_only_the_rest(
    kafka: Kafka, tmp_path: Path
) -> None:
    shop = Shop(kafka, tmp_path)
    shop.bury(40)

    first = shop.moved("--offset", "0:0-4", "--offset", "3:9")
    again = shop.moved("--offset", "0:0-4", "--offset", "3:9")
    rest = shop.moved("--reason", "timeout")

    to = {"fate": "redriven", "to": shop.redrive}
    assert first["moved"] == [{**to, "count": 6}]
    assert again["moved"] == []
    assert rest["moved"] == [{**to, "count": 34}]
    assert sorted(ids(kafka.read(shop.redrive))) == list(range(40))


def test_a_second_run_shuts_out_the_first_and_each_is_moved_once(
    kafka: Kafka, tmp_path: Path
) -> None:
    shop = Shop(kafka, tmp_path)
    shop.bury(1_200)
    dead_letters, plan = planned(shop)
    others: list[dict[str, Any]] = []

    def run_another(_progress: Progress) -> None:
        others.append(shop.moved())

    with pytest.raises(Fenced, match=f"another run has begun on {shop.dead}"):
        dead_letters.mover(plan, Unlimited(), run_another).run()

    assert [one["moved"][0]["count"] for one in others] == [700]
    assert sorted(ids(kafka.read(shop.redrive))) == list(range(1_200))


def test_a_command_that_is_shut_out_ends_with_3(kafka: Kafka, tmp_path: Path) -> None:
    shop = Shop(kafka, tmp_path)
    shop.bury(400)

    with shop.redriving("--rate", "20") as first:
        until(first, shop, 10)
        shop.moved()
        code = first.wait(DEADLINE)

    assert code == 3
    assert sorted(ids(kafka.read(shop.redrive))) == list(range(400))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_stopped_says_how_far_it_came_and_another_does_the_rest(
    kafka: Kafka, tmp_path: Path, number: signal.Signals
) -> None:
    shop = Shop(kafka, tmp_path)
    shop.bury(400)

    with shop.redriving("--rate", "50", "--output", "json") as first:
        until(first, shop, 50)
        first.send_signal(number)
        out, err = first.communicate(timeout=DEADLINE)

    (moved,) = json.loads(out)["moved"]
    (rest,) = shop.moved()["moved"]
    assert first.returncode == 1
    assert f"ended after {moved['count']} of 400; run it again\n" in err.decode()
    assert "Traceback" not in err.decode()
    assert 0 < moved["count"] == 400 - rest["count"]
    assert sorted(ids(kafka.read(shop.redrive))) == list(range(400))


def test_dead_letters_that_retention_deletes_meanwhile_are_passed_over(
    kafka: Kafka, tmp_path: Path
) -> None:
    shop = Shop(kafka, tmp_path)
    shop.bury(40)
    dead_letters, plan = planned(shop)
    client = AdminClient({"bootstrap.servers": kafka.address})
    for future in client.delete_records([TopicPartition(shop.dead, 3, 4)]).values():
        future.result()

    progress = dead_letters.mover(plan, Unlimited(), lambda _progress: None).run()

    assert progress.moved == {("redriven", shop.redrive): 36}


@pytest.mark.parametrize(("answer", "code", "moved"), [("n", 1, 0), ("y", 0, 8)])
def test_on_a_terminal_it_asks_before_it_moves(
    kafka: Kafka, tmp_path: Path, answer: str, code: int, moved: int
) -> None:
    shop = Shop(kafka, tmp_path)
    shop.bury(8)
    command = ["dlq", "drop", shop.dead, "--spec", str(shop.file)]

    done = answering(answer, *command)

    assert done.returncode == code
    assert "Move 8 dead letters? [y/N]:" in done.stderr
    assert shop.dead_letters().survey(shop.dead).settled == ({"dropped": moved} if moved else {})


def test_after_a_failure_a_run_goes_on_with_a_new_producer(kafka: Kafka, tmp_path: Path) -> None:
    shop = Shop(kafka, tmp_path)
    shop.bury(1_200)
    dead_letters, plan = planned(shop)
    failed: list[Progress] = []

    def fail_once(progress: Progress) -> None:
        if not failed:
            failed.append(progress)
            raise ClientError("the network is away")

    progress = dead_letters.mover(plan, Unlimited(), fail_once).run()

    assert progress.moved == {("redriven", shop.redrive): 1_200}
    assert sorted(ids(kafka.read(shop.redrive))) == list(range(1_200))


def test_after_late_commits_of_which_no_more_is_known_a_run_goes_on_with_a_new_producer(
    kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(kafka, tmp_path)
    shop.bury(1_200)
    dead_letters, plan = planned(shop)
    monkeypatch.setattr(transactional, "PROMPT", 0.0)
    monkeypatch.setattr(transactional, "STATISTICS_WITHIN", 0.0)

    progress = dead_letters.mover(plan, Unlimited(), lambda _progress: None).run()

    assert (
        "beginning again with a new producer: as a transaction ended, an answer was late"
        in caplog.text
    )
    assert progress.moved == {("redriven", shop.redrive): 1_200}
    assert sorted(ids(kafka.read(shop.redrive))) == list(range(1_200))


def test_after_a_commit_without_an_answer_a_run_looks_into_the_ledger_and_goes_on(
    kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(kafka, tmp_path)
    shop.bury(1_200)
    dead_letters, plan = planned(shop)

    def lose_patience(progress: Progress) -> None:
        monkeypatch.setattr(mover, "COMMITTED_WITHIN", 0.001 if progress.number == 500 else 30)

    def be_patient(record: logging.LogRecord) -> bool:
        monkeypatch.setattr(mover, "COMMITTED_WITHIN", 30)
        return True

    caplog.handler.addFilter(be_patient)
    progress = dead_letters.mover(plan, Unlimited(), lose_patience).run()

    assert "it is not known what became of the transaction" in caplog.text
    assert progress.moved == {("redriven", shop.redrive): 1_200}
    assert sorted(ids(kafka.read(shop.redrive))) == list(range(1_200))


def test_redriven_messages_are_handled_by_their_own_pipeline_and_no_other(
    kafka: Kafka, tmp_path: Path
) -> None:
    shop = Shop(kafka, tmp_path)
    file = tmp_path / "needed"
    values = [json.dumps({"id": one, "file": str(file)}).encode() for one in range(20)]
    kafka.produce(shop.source, [(b"%d" % n, value, n % 4) for n, value in enumerate(values)])

    with shop.worker() as worker:
        worker.until(lambda: len(kafka.read(shop.dead)) == 20)
        file.touch()
        shop.moved()
        worker.until(lambda: len(kafka.read(shop.target)) == 20)
        worker.until(lambda: worker.pipeline("watch")["lag"] == 0)
        assert worker.stop() == 0

    assert sorted(ids(kafka.read(shop.target))) == list(range(20))
    assert sorted(ids(kafka.read(shop.seen))) == list(range(20))


def test_a_message_that_fails_again_and_again_is_parked_and_still_says_where_it_was_read_at_first(
    kafka: Kafka, tmp_path: Path
) -> None:
    shop = Shop(kafka, tmp_path)
    kafka.produce(shop.source, [(b"k", b'{"id":7,"file":"/nowhere"}', 2)])

    with shop.worker() as worker:
        worker.until(lambda: len(kafka.read(shop.dead)) == 1)
        shop.moved("--max-redrives", "2")
        worker.until(lambda: len(kafka.read(shop.dead)) == 2)
        shop.moved("--max-redrives", "2")
        worker.until(lambda: len(kafka.read(shop.dead)) == 3)
        said = shop.moved("--max-redrives", "2")
        assert worker.stop() == 0

    assert said["moved"] == [{"fate": "parked", "to": shop.parked, "count": 1}]
    first, *_, last = sorted(kafka.read(shop.dead), key=lambda one: headers(one)["dlq.redrives"])
    (parked,) = kafka.read(shop.parked)
    kept = ("topic", "partition", "offset", "timestamp", "first_failure")
    assert [headers(last)[f"dlq.{name}"] for name in kept] == [
        headers(first)[f"dlq.{name}"] for name in kept
    ]
    assert headers(last)["dlq.topic"] == shop.source.encode()
    assert headers(last)["dlq.redrives"] == b"2"
    assert (parked.value(), parked.headers()) == (last.value(), last.headers())


def test_what_was_redriven_before_a_group_has_begun_is_read_whatever_its_start(
    kafka: Kafka, tmp_path: Path
) -> None:
    shop = Shop(kafka, tmp_path, start="newest")
    shop.bury(8)
    shop.moved()

    with shop.worker() as worker:
        worker.until(lambda: len(kafka.read(shop.dead)) == 16)
        assert worker.stop() == 0


def test_they_go_to_their_origin_in_order_and_in_its_partition_when_that_is_asked_for(
    kafka: Kafka, tmp_path: Path
) -> None:
    shop = Shop(kafka, tmp_path)
    shop.bury(40)

    shop.moved("--to", "origin")

    found = kafka.read(shop.source)
    assert Counter(one.partition() for one in found) == dict.fromkeys(range(PARTITIONS), 10)
    for partition in range(PARTITIONS):
        there = [message for message in found if message.partition() == partition]
        assert ids(there) == list(range(partition, 40, PARTITIONS)), "not in order"


def test_dead_letters_of_spring_go_back_where_they_came_from(kafka: Kafka, tmp_path: Path) -> None:
    shop = Shop(kafka, tmp_path)
    producer = kafka.producer()
    about = {
        "kafka_dlt-original-topic": shop.source.encode(),
        "kafka_dlt-original-partition": b"\0\0\0\3",
        "kafka_dlt-original-consumer-group": b"billing",
        "kafka_dlt-exception-fqcn": b"java.lang.IllegalStateException",
    }
    producer.produce(shop.dead, b'{"id":1}', b"k", headers=list(about.items()))
    assert producer.flush(DEADLINE) == 0

    code, _, err = shop.dlq("redrive", "--yes")
    shop.moved("--to", "origin", "--error", "IllegalStateException")

    assert code == 1
    assert "1 cannot be moved: no pipeline has its group billing; name a topic with --to" in err
    (found,) = kafka.read(shop.source)
    assert (found.partition(), found.key(), found.value()) == (3, b"k", b'{"id":1}')
    assert headers(found)["dlq.redrives"] == b"1"


def test_dead_letters_of_aborted_transactions_are_none(kafka: Kafka, tmp_path: Path) -> None:
    shop = Shop(kafka, tmp_path)
    expected = write(kafka, shop.dead, 6, 15)

    said = shop.moved("--to", shop.target)

    assert said["moved"] == [{"fate": "redriven", "to": shop.target, "count": len(expected)}]
    assert sorted(ids(kafka.read(shop.target))) == expected


def test_the_ledger_of_a_topic_that_was_made_again_is_not_its_own(
    kafka: Kafka, tmp_path: Path
) -> None:
    shop = Shop(kafka, tmp_path)
    shop.bury(8)
    shop.moved()
    kafka.delete(shop.dead)
    kafka.create(shop.dead, partitions=PARTITIONS)
    shop.bury(8)

    shop.moved()

    assert sorted(ids(kafka.read(shop.redrive))) == sorted([*range(8), *range(8)])


def test_a_plan_is_printed_and_nothing_is_written(kafka: Kafka, tmp_path: Path) -> None:
    shop = Shop(kafka, tmp_path)
    shop.bury(40)

    code, out, err = shop.dlq("redrive", "--dry-run", "--limit", "30", "--output", "json")
    refused, _, why = shop.dlq("redrive")

    assert (code, err) == (0, "")
    assert json.loads(out)["moves"] == [
        {"reason": "timeout", "fate": "redriven", "to": shop.redrive, "count": 30}
    ]
    assert refused == 2
    assert "there is nobody to ask: give --yes" in why
    with Client(kafka.address) as client:
        assert not {shop.redrive, f"{shop.dead}.ledger"} & {*client.list_topics()}


def test_dead_letters_are_parked_dropped_counted_and_shown(kafka: Kafka, tmp_path: Path) -> None:
    shop = Shop(kafka, tmp_path)
    shop.bury(12, handler="need_file", error="FileNotFoundError")

    park = shop.dlq("park", "--yes", "--key", "key-3")
    drop = shop.dlq("drop", "--yes", "--limit", "4")
    _, counts, _ = shop.dlq("list", "--output", "json")
    _, shown, _ = shop.dlq("show", "--offset", "3:0-1", "--all", "--output", "json")
    _, waiting, _ = shop.dlq("show", "--limit", "99", "--output", "json")

    assert park == (0, f"{shop.dead}: 1 parked to {shop.parked}\n", park[2])
    assert drop == (0, f"{shop.dead}: 4 dropped\n", drop[2])
    dead, parked = json.loads(counts)
    assert (dead["parked"], dead["dropped"], dead["redriven"]) == (1, 4, 0)
    (kind,) = dead["waiting"]
    assert (kind["reason"], kind["handler"], kind["count"]) == ("timeout", "need_file", 7)
    assert parked["topic"] == shop.parked
    assert [one["count"] for one in parked["waiting"]] == [1]
    settled = [json.loads(line)["settled"] for line in shown.splitlines()]
    assert [settled[0]["fate"], settled[1]] == ["parked", None]
    assert len(waiting.splitlines()) == 7
    with Client(kafka.address) as client:
        assert client.describe_topic(f"{shop.dead}.ledger").config["cleanup.policy"] == "compact"
        assert client.describe_topic(shop.parked).config["retention.ms"] == "-1"


def test_one_too_large_for_where_it_is_to_go_stays(kafka: Kafka, tmp_path: Path) -> None:
    shop = Shop(kafka, tmp_path)
    with Client(kafka.address) as client:
        client.create_topic(shop.redrive, TopicConfig(1, config={"max.message.bytes": 300}))
    shop.bury(4)
    shop.bury(1, handler="x" * 500)

    code, out, _ = shop.dlq("redrive", "--yes", "--output", "json")

    assert code == 1
    said = json.loads(out)
    assert said["moved"] == [{"fate": "redriven", "to": shop.redrive, "count": 4}]
    assert said["stays"] == [
        {"why": f"too large for {shop.redrive}, which takes 300 bytes", "count": 1}
    ]


@pytest.mark.parametrize(
    ("ledger", "text"),
    [
        ({"replication": 10_000}, "make them first, the ledger with one partition and cleanup"),
        ({"config": {"cleanup.policy": "delete"}}, "has cleanup.policy=delete, so entries would"),
    ],
)
def test_without_a_ledger_that_keeps_its_entries_nothing_is_moved(
    kafka: Kafka, tmp_path: Path, ledger: Mapping[str, Any], text: str
) -> None:
    shop = Shop(kafka, tmp_path, ledger=ledger)
    shop.bury(1)

    code, _, err = shop.dlq("redrive", "--yes")

    assert code == 1
    assert text in err
    assert "Traceback" not in err


def test_without_a_spec_dead_letters_are_seen_and_moved_by_the_names_of_topics(
    kafka: Kafka, tmp_path: Path
) -> None:
    shop = Shop(kafka, tmp_path)
    shop.bury(6)

    def dlq(*arguments: str) -> Reply:
        return worker("dlq", *arguments, "--brokers", kafka.address, folder=tmp_path)

    _, listed, _ = dlq("list", shop.dead, "--output", "json")
    nameless, _, why = dlq("list")
    stayed, _, stays = dlq("redrive", shop.dead, "--yes")
    elsewhere = ("redrive", shop.dead, "--to", shop.target, "--yes", "--limit", "2")
    refused, _, unknown = dlq(*elsewhere)
    moved = dlq(*elsewhere, "--allow", shop.target)
    parked = dlq("park", shop.dead, "--yes", "--limit", "1")
    dropped = dlq("drop", shop.dead, "--yes", "--limit", "1")

    assert [one["count"] for one in json.loads(listed)[0]["waiting"]] == [6]
    assert (nameless, "name topics, or give --spec" in why) == (2, True)
    assert stayed == 1
    assert f"no pipeline has its group {shop.group}; name a topic with --to" in stays
    assert (refused, f"add --allow {shop.target}" in " ".join(unknown.split())) == (2, True)
    assert [moved[0], parked[0], dropped[0]] == [0, 0, 0]
    assert len(kafka.read(shop.target)) == 2
    assert shop.dead_letters().survey(shop.dead).settled == {
        "redriven": 2,
        "parked": 1,
        "dropped": 1,
    }


def test_a_topic_that_does_not_exist_is_told(kafka: Kafka, tmp_path: Path) -> None:
    shop = Shop(kafka, tmp_path)
    shop.bury(1)

    code, _, err = shop.dlq("redrive", "--yes", "--to", "nowhere-1", "--allow", "nowhere-1")

    assert code == 1
    assert "Error: topic nowhere-1 does not exist, or is not shown to this user; make it" in err


def test_rights_that_a_redrive_lacks_are_told_and_no_others_are_needed(
    guarded: Guarded, tmp_path: Path
) -> None:
    shop = Shop(guarded.kafka, tmp_path)
    shop.bury(3)
    spec = yaml.safe_load(shop.file.read_text())
    shop.file.write_text(yaml.safe_dump({**spec, "kafka": guarded.settings}))
    Client(guarded.kafka.address).create_topic(
        f"{shop.dead}.ledger", TopicConfig(partitions=1, config={"cleanup.policy": "compact"})
    )
    guarded.kafka.create(shop.redrive, partitions=1)
    describe, read, write = USE

    def told() -> str:
        code, _, err = shop.dlq("redrive", "--yes")
        assert (code != 0, "Traceback" in err) == (True, False)
        return err

    def grant(topic: str, *operations: AclOperation) -> None:
        guarded.grant(topic, ResourceType.TOPIC, operations)

    assert f"{shop.dead} does not exist, or is not shown to this user" in told()
    grant(shop.dead, describe)
    assert f"topic {shop.dead} may not be read by this user; grant Read on it" in told()
    grant(shop.dead, read)
    assert f"topics were not made: {shop.redrive}: TOPIC_AUTHORIZATION_FAILED" in told()
    grant(shop.redrive, describe)
    ledger = f"topic {shop.dead}.ledger"
    assert (
        f"this user may not move dead letters of {shop.dead}; grant Write on topic {shop.redrive}, "
        f"Write on {ledger}, DescribeConfigs on {ledger}\n"
    ) in told()
    grant(shop.redrive, write)
    grant(f"{shop.dead}.ledger", write, AclOperation.DESCRIBE_CONFIGS)
    assert f"grant this user Write and Describe on the transactional id {shop.dead}" in told()
    guarded.grant(shop.dead, ResourceType.TRANSACTIONAL_ID, [write, describe])
    assert [one["count"] for one in shop.moved()["moved"]] == [3]
