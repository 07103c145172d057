"""`worker groups` on a real Kafka."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Consumer
from confluent_kafka.admin._acl import AclOperation  # not re-exported for type checkers
from confluent_kafka.admin._resource import ResourceType

from tests.cli.rig import answering, worker
from tests.system.guarded import Guarded
from tests.system.rig import Kafka, Spec, ids
from worker.flow import envelope
from worker.kafka import outside
from worker.kafka.admin import KafkaAdmin
from worker.kafka.groups import Groups
from worker.settings import KafkaSettings
from worker.types import Commit, TopicPartition

pytestmark = pytest.mark.kafka

PARTITIONS = 4
Reply = tuple[int, str, str]


class Station(Spec):
    """A spec with 40 messages in four partitions, and the commands on its group."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.create_topics()
        records = [(b"%d" % n, b'{"id":%d}' % n, n % PARTITIONS) for n in range(40)]
        self.kafka.produce(self.source, records)
        self.file = self.written()

    def groups(self, command: str, *arguments: str) -> Reply:
        return worker("groups", command, *arguments, "--spec", self.file, folder=self.folder)

    def told(self, command: str, *arguments: str) -> Any:
        code, out, err = self.groups(command, *arguments, "--output", "json")
        assert code == 0, err
        return json.loads(out)

    def reset(self, *arguments: str) -> Reply:
        return self.groups("reset", self.group, *arguments)

    def commit(self, *offsets: int, metadata: str = "") -> None:
        """Commit in the place of the group, by partition."""
        asking = KafkaAdmin(KafkaSettings(brokers=[self.kafka.address])).asking
        places = [TopicPartition(self.source, number) for number in range(PARTITIONS)]
        wanted = {one: Commit(at, metadata) for one, at in zip(places, offsets, strict=False)}
        assert set(outside.commit(asking, self.group, wanted).values()) == {None}

    def committed(self) -> Sequence[int]:
        return self.kafka.committed(self.group, self.source)


@pytest.fixture
def station(kafka: Kafka, tmp_path: Path) -> Station:
    return Station(kafka, tmp_path, "echo")


def test_lag_is_told_by_partition_and_altogether(station: Station) -> None:
    station.commit(10, 4)

    (group,) = station.told("lag")
    (named,) = station.told("lag", station.group)
    _, shown, _ = station.groups("lag")

    assert group == named
    assert (group["group"], group["lag"]) == (station.group, 26)
    assert [one["committed"] for one in group["partitions"]] == [10, 4, None, None]
    assert [one["lag"] for one in group["partitions"]] == [0, 6, 10, 10]
    assert {one["end"] for one in group["partitions"]} == {10}
    assert shown.split()[-2:] == [station.group, "26"]


def test_what_is_handled_above_the_committed_offset_is_no_lag(station: Station) -> None:
    station.commit(4, metadata=envelope.encode(4, [(5, 7), (8, 9)]))

    (group,) = station.told("lag")

    first = group["partitions"][0]
    assert (first["handled_above"], first["lag"]) == (3, 3)


def test_a_group_is_told_with_its_members_and_not_reset_while_it_has_any(station: Station) -> None:
    with station.worker() as process:
        process.until(lambda: sum(station.committed()) == 40)
        found = station.told("describe", station.group)
        listed = station.told("list")
        code, out, err = station.reset("--to", "oldest", "--yes")
        assert station.committed() == [10] * 4
        assert process.stop() == 0

    (member,) = found["members"]
    assert (found["state"], found["protocol"]) == ("stable", "classic")
    assert member["host"] == "127.0.0.1"
    assert [one["partition"] for one in member["partitions"]] == [0, 1, 2, 3]
    assert {one["group"]: one["pipeline"] for one in listed}[station.group] == "pipeline"
    assert (code, out) == (1, "")
    assert f"group {station.group} has members (stream-worker on 127.0.0.1), which would" in err
    assert station.told("describe", station.group)["members"] == []


def test_a_member_that_joins_after_the_look_is_in_the_way_as_well(station: Station) -> None:
    groups = Groups(KafkaAdmin(KafkaSettings(brokers=[station.kafka.address])).asking)
    with station.worker() as process:
        process.until(lambda: sum(station.committed()) == 40)
        with pytest.raises(Exception, match="has members, which would go on from where they are"):
            groups.reset(station.group, {TopicPartition(station.source, 0): 0})
        assert process.stop() == 0

    assert station.committed() == [10] * 4


@pytest.mark.parametrize(
    ("to", "where", "committed"),
    [
        ("oldest", (), [0, 0, 0, 0]),
        ("newest", (), [10, 10, 10, 10]),
        ("7", (), [7, 7, 7, 7]),
        ("-2", (), [2, 3, 4, -1001]),
        ("+100", (), [10, 10, 10, -1001]),
        ("2001-01-31T12:00:00Z", (), [0, 0, 0, 0]),
        ("0s", (), [10, 10, 10, 10]),
        ("oldest", (":1,3",), [4, 0, 6, 0]),
        ("newest", (":0", ":2"), [10, 5, 10, -1001]),
    ],
)
def test_a_group_goes_on_where_it_is_told_to(
    station: Station, to: str, where: Sequence[str], committed: Sequence[int]
) -> None:
    station.commit(4, 5, 6)
    topics = [f"--topic={station.source}{partitions}" for partitions in where]

    code, out, err = station.reset("--to", to, *topics, "--yes")

    assert code == 0, err
    assert "partitions were reset\n" in out
    assert station.committed() == committed


def test_after_a_reset_everything_is_handled_that_was_noted_as_handled(station: Station) -> None:
    noted = envelope.encode(5, [(6, 10)])
    station.commit(5, 5, 5, 5, metadata=noted)

    station.reset("--to", "5", "--yes")
    assert station.kafka.finished(station.group, station.source) == ()
    with station.worker() as process:
        process.until(lambda: len(station.kafka.read(station.target)) == 20)
        assert process.stop() == 0

    assert sorted(ids(station.kafka.read(station.target))) == list(range(20, 40))


def test_a_dry_run_prints_what_would_change_and_changes_nothing(station: Station) -> None:
    station.commit(4, 10)

    code, out, err = station.reset("--to", "newest", "--dry-run")
    told = station.told("reset", station.group, "--to", "newest", "--dry-run")
    refused, _, why = station.reset("--to", "newest")

    assert (code, err) == (0, "")
    assert " ".join(out.split()[:9]).startswith("topic partition committed to again (-)")
    assert "+6\n" in out
    assert [(one["partition"], one["committed"], one["to"]) for one in told["partitions"]] == [
        (0, 4, 10),
        (2, None, 10),
        (3, None, 10),
    ]
    assert refused == 2
    assert "there is nobody to ask: give --yes, or --dry-run to see the plan" in why
    assert station.committed() == [4, 10, -1001, -1001]


@pytest.mark.parametrize(("answer", "code", "committed"), [("n", 1, 4), ("y", 0, 10)])
def test_on_a_terminal_it_asks_before_it_resets(
    station: Station, answer: str, code: int, committed: int
) -> None:
    station.commit(4)
    command = ["groups", "reset", station.group, "--to", "newest", "--spec", str(station.file)]

    done = answering(answer, *command, "--topic", f"{station.source}:0")

    assert done.returncode == code
    assert f"Reset 1 partitions of {station.group}? [y/N]:" in done.stderr
    assert station.committed()[0] == committed


def test_a_shift_that_is_cut_at_an_end_of_the_log_says_so(station: Station) -> None:
    station.commit(4, 10, 1)
    arguments = (station.group, "--to", "+7")

    told = station.told("reset", *arguments, "--dry-run")
    _, shown, _ = station.groups("reset", *arguments, "--dry-run")
    done = station.told("reset", *arguments, "--yes")

    cut = [{"topic": station.source, "partition": at, "by": by} for at, by in ((0, 1), (1, 7))]
    assert told["cut"] == done["cut"] == cut
    assert f"cut at an end of the log: {station.source}[0] by 1, {station.source}[1] by 7" in shown


def test_messages_in_retry_topics_are_left_unless_they_are_named(
    kafka: Kafka, tmp_path: Path
) -> None:
    station = Station(kafka, tmp_path, "echo", {"retry": {"topics": ["1h"], "keep_order": False}})
    tier = f"{station.group}.retry.0"
    kafka.create(tier, partitions=1)
    kafka.produce(tier, [(b"k", b"1", 0)])
    station.commit(4)
    asking = KafkaAdmin(KafkaSettings(brokers=[kafka.address])).asking
    outside.commit(asking, station.group, {TopicPartition(tier, 0): Commit(0)})

    told = station.told("reset", station.group, "--to", "newest", "--yes")
    left = kafka.committed(station.group, tier, 1)
    station.reset("--to", "newest", "--topic", tier, "--yes")

    assert told["left"] == [tier]
    assert left == [0]
    assert kafka.committed(station.group, tier, 1) == [1]


def test_mistakes_are_told_with_what_is_legal(station: Station) -> None:
    station.commit(4)

    def refused(*arguments: str) -> str:
        code, out, err = station.reset(*arguments, "--yes")
        assert (code in {1, 2}, out, "Traceback" in err) == (True, "", False)
        return " ".join(err.split())

    source = station.source
    assert (
        f"offset 11 of {source}[0] is not in the log; legal are 0 to 10; offset 11 of"
        in refused("--to", "11")
    )
    assert f"no such partition: {source}[7]; legal are 0 to 3" in refused(
        "--to", "oldest", "--topic", f"{source}:7"
    )
    assert "topic nowhere does not exist, or is not shown to this user; `worker topics" in refused(
        "--to", "oldest", "--topic", "nowhere"
    )
    assert "'soon' is not legal; legal are oldest, newest, an offset" in refused("--to", "soon")
    assert "is not TOPIC or TOPIC:PARTITION,..." in refused("--to", "1", "--topic", "a:b")
    assert station.committed() == [4, -1001, -1001, -1001]


def test_a_group_that_is_not_there_is_told_with_one_that_is(station: Station) -> None:
    near = station.group.removesuffix("e")

    for command in ("describe", "lag"):
        code, _, err = station.groups(command, near)
        assert code == 1
        assert f"group {near} does not exist, or has nothing to tell; did you mean" in err
    code, _, err = station.groups("reset", near, "--to", "oldest", "--yes")
    assert code == 1
    assert f"group {near} has committed nothing; name the topics with --topic" in err


def test_a_group_of_the_spec_that_has_not_begun_is_not_taken_for_another(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "echo")
    file = spec.written()

    for arguments in (("lag",), ("describe", spec.group)):
        code, out, err = worker("groups", *arguments, "--spec", file, folder=tmp_path)
        assert (code, out) == (1, "")
        assert f"group {spec.group} does not exist, or has nothing to tell; pipeline p" in err
        assert "did you mean" not in err


def test_what_a_member_calls_itself_changes_nothing_on_a_terminal(station: Station) -> None:
    settings = {
        "bootstrap.servers": station.kafka.address,
        "group.id": station.group,
        "client.id": "cid\x1b]0;x\x07\u202e\nand",
    }
    with closing(Consumer(settings)) as member:
        member.subscribe([station.source])
        while not member.assignment():
            member.poll(1)
        code, _, err = station.reset("--to", "oldest", "--yes")

    assert code == 1
    assert r"(cid\x1b]0;x\x07\u202e\nand on 127.0.0.1), which would go on" in err


def test_a_group_is_handled_whatever_its_name_and_changes_nothing_on_a_terminal(
    station: Station,
) -> None:
    station.group = name = f"{station.group}\x1b[31m\u202e"
    station.commit(4, 4, 4, 4)

    (lag,) = station.told("lag", name)
    code, out, err = station.groups("describe", name)
    reset, told, _ = station.reset("--to", "oldest", "--yes")

    assert (lag["group"], lag["lag"]) == (name, 24)
    assert (code, err) == (0, "")
    assert r"\x1b[31m\u202e" in out
    assert (reset, "\x1b" in out + told) == (0, False)
    assert station.committed() == [0] * 4


@pytest.mark.parametrize("command", ["describe", "lag", "reset"])
def test_a_group_without_a_name_is_a_mistake_of_the_command_line(
    tmp_path: Path, command: str
) -> None:
    place = ("--to", "oldest") if command == "reset" else ()
    code, out, err = worker(
        "groups", command, "", *place, "--brokers", "nowhere.invalid:1", folder=tmp_path
    )

    assert (code, out) == (2, "")
    assert "group '' is not legal; legal is a text" in " ".join(err.split())


def test_without_a_spec_groups_are_told_all_the_same(station: Station) -> None:
    station.commit(4)
    cluster = ("--brokers", station.kafka.address)

    code, out, _ = worker("groups", "lag", station.group, *cluster, folder=station.folder)
    usage, _, err = worker("groups", "lag", *cluster, folder=station.folder)
    away, _, _ = worker("groups", "list", "--brokers", "127.0.0.1:1", folder=station.folder)

    assert (code, out.split()[-1]) == (0, "36")
    assert usage == 2
    assert "name groups, or give --spec" in err
    assert away == 69


def test_rights_that_one_lacks_are_told(guarded: Guarded, tmp_path: Path) -> None:
    station = Station(guarded.kafka, tmp_path, "echo")
    station.commit(4)
    spec = yaml.safe_load(station.file.read_text())
    station.file.write_text(yaml.safe_dump({**spec, "kafka": guarded.settings}))

    code, _, err = station.groups("lag", station.group)
    assert code == 1
    assert "GROUP_AUTHORIZATION_FAILED" in err
    assert f"grant this user Describe on group {station.group}\n" in err

    guarded.grant(station.group, ResourceType.GROUP, [AclOperation.DESCRIBE])
    guarded.grant(station.source, ResourceType.TOPIC, [AclOperation.READ])
    assert station.told("lag", station.group)[0]["lag"] == 36
    code, _, err = station.reset("--to", "oldest", "--yes")
    assert code == 1
    assert "GROUP_AUTHORIZATION_FAILED" in err
    assert f"grant this user Read on group {station.group}\n" in err

    guarded.grant(station.group, ResourceType.GROUP, [AclOperation.READ])
    assert station.reset("--to", "oldest", "--yes")[0] == 0
    assert station.committed() == [0] * 4
