"""Topics that a pipeline has for retries: what is made at its start, and what stops it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from worker.app import Options, Wrap
from worker.app.assembly import Assembly
from worker.engine.job import Job
from worker.engine.resources import Resources
from worker.errors import BadConfiguration, ClientError, TopicsRefused
from worker.flow.retry import Tier
from worker.handlers import Registry
from worker.ports import NewTopic
from worker.spec import load
from worker.testing import MemoryBroker
from worker.testing.memory.broker import MemoryAdmin
from worker.types import Problem, TopicInfo, TopicPartition

SPEC = """\
version: 1
name: test
kafka: {{brokers: "localhost:1"}}
handlers: [json]
pipelines:
  one:
    from: {source}
    handler: plain
    {more}
server: {{port: 0}}
{top}
"""
DAY = 86_400_000
"""Milliseconds."""
KEPT = "ordering: key\n    retry: {topics: [1m, 10m]}"
LOOSE = "ordering: none\n    retry: {topics: [1m, 10m]}"


class Recording(MemoryAdmin):
    """An admin that keeps what it was asked to make, and may be forbidden to."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.made: dict[str, NewTopic] = {}
        self.configs: dict[str, dict[str, str]] = {}
        """What topics say of their configuration."""
        self.refused: str | None = None
        self.silent = False

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        known = super().describe(topics)
        return {name: replace(known[name], config=self.configs.get(name, {})) for name in known}

    def create(self, topics: Mapping[str, NewTopic]) -> None:
        missing = {topic: topics[topic] for topic in topics if not self.describe([topic])}
        if missing and self.refused:
            raise TopicsRefused(dict.fromkeys(missing, self.refused))
        self.made |= missing
        super().create(topics)

    def uncommitted(self, group: str, topics: Sequence[str]) -> Mapping[str, int]:
        if self.silent:
            raise ClientError("GROUP_AUTHORIZATION_FAILED", advice="grant this user Read on it")
        return super().uncommitted(group, topics)


@pytest.fixture
def admin() -> Recording:
    broker = MemoryBroker()
    broker.create("source", 3, 2_000_000)
    return Recording(broker)


@contextmanager
def assembled(
    folder: Path, admin: Recording, more: str, source: str = "source", top: str = "", **options: Any
) -> Iterator[Assembly]:
    """What is put together of a spec on the broker in memory."""
    registry = Registry()

    def plain(payload: dict[str, Any]) -> None: ...

    registry.handler(plain, batch=None, name=None)
    file = folder / "spec.yaml"
    file.write_text(SPEC.format(source=source, more=more, top=top))
    wrap = Wrap(admin=lambda _admin: admin)
    assembly = Assembly(load(file, {}), replace(Options(registry=registry, wrap=wrap), **options))
    yield assembly
    assembly.loop.close()


def started(folder: Path, admin: Recording, more: str, **others: Any) -> Job:
    with assembled(folder, admin, more, **others) as assembly:
        assembly.prepare()
        return assembly._pipeline("one", Resources([], assembly.loop)).job


def stopped(folder: Path, admin: Recording, more: str, **others: Any) -> Sequence[Problem]:
    """What is wrong, so that there is no start."""
    with pytest.raises(BadConfiguration) as caught:
        started(folder, admin, more, **others)
    return caught.value.problems


def made(admin: Recording) -> dict[str, tuple[int | None, Mapping[str, object]]]:
    return {topic: (one.partitions, one.config) for topic, one in admin.made.items()}


def tier(retention: int, size: int) -> Mapping[str, object]:
    return {
        "cleanup.policy": "delete",
        "retention.ms": retention,
        "retention.bytes": -1,
        "max.message.bytes": size,
    }


def test_retry_topics_and_fence_are_made_to_fit_the_largest_source(
    tmp_path: Path, admin: Recording
) -> None:
    admin._broker.create("other", 5, 1_000)

    started(tmp_path, admin, KEPT, source="[source, other]")

    size = 2_000_000 + 65_536
    assert made(admin) == {
        "test.one.retry.0": (5, tier(7 * DAY + 60_000, size)),
        "test.one.retry.1": (5, tier(7 * DAY + 600_000, size)),
        "test.one.fence": (
            1,
            {
                "cleanup.policy": "compact",
                "segment.ms": 3_600_000,
                "min.cleanable.dirty.ratio": "0.01",
            },
        ),
    }


def test_where_no_order_is_kept_there_is_no_fence(tmp_path: Path, admin: Recording) -> None:
    job = started(tmp_path, admin, LOOSE)

    assert list(admin.made) == ["test.one.retry.0", "test.one.retry.1"]
    assert job.fence is None


def test_a_job_reads_its_retry_topics_and_does_not_take_them_for_sources(
    tmp_path: Path, admin: Recording
) -> None:
    started(tmp_path, admin, KEPT)

    job = started(tmp_path, admin, KEPT)

    assert job.topics == ["source", "test.one.retry.0", "test.one.retry.1"]
    assert job.tiers == [Tier("test.one.retry.0", 60.0), Tier("test.one.retry.1", 600.0)]
    assert job.fence == "test.one.fence"
    assert not {tier.topic for tier in job.tiers} & set(job.there)


def test_sizes_and_partitions_of_retry_topics_and_fence_are_known(
    tmp_path: Path, admin: Recording
) -> None:
    with assembled(tmp_path, admin, KEPT) as assembly:
        assembly.prepare()

        three = dict.fromkeys(["source", "test.one.retry.0", "test.one.retry.1"], 3)
        assert assembly._known.numbers == three | {"test.one.fence": 1}
        assert assembly._known.limits["test.one.retry.1"] == 2_065_536


def test_topics_that_match_a_pattern_count_as_far_as_they_are_there(
    tmp_path: Path, admin: Recording
) -> None:
    admin._broker.create("eu-orders", 7)
    admin._broker.create("other", 9)

    started(tmp_path, admin, LOOSE, source="[source, ^eu-.*]")

    assert {one.partitions for one in admin.made.values()} == {7}


def test_a_pattern_that_matches_nothing_yet_has_retry_topics_of_one_partition(
    tmp_path: Path, admin: Recording
) -> None:
    started(tmp_path, admin, LOOSE, source="^eu-.*")

    assert made(admin)["test.one.retry.0"] == (
        1,
        tier(7 * DAY + 60_000, 1_048_588 + 65_536),
    )


def test_redriven_dead_letters_have_a_partition_too(tmp_path: Path, admin: Recording) -> None:
    admin._broker.create("one.dlq")
    admin._broker.create("test.one.redrive", 8)

    started(tmp_path, admin, f"{LOOSE}\n    dead_letter: one.dlq")

    assert {one.partitions for one in admin.made.values()} == {8}


def test_what_the_spec_says_of_a_retry_topic_counts_more(tmp_path: Path, admin: Recording) -> None:
    top = (
        "topics:\n"
        "  test.one.retry.0: {partitions: 6, config: {retention.ms: 200000}}\n"
        "  test.one.fence: {replication: 2}"
    )

    started(tmp_path, admin, KEPT, top=top)

    assert made(admin)["test.one.retry.0"] == (
        6,
        tier(200_000, 2_065_536),
    )
    fence = admin.made["test.one.fence"]
    assert (fence.partitions, fence.replication) == (1, 2)
    assert fence.config["cleanup.policy"] == "compact"


def test_topics_that_are_there_are_left_as_they_are(tmp_path: Path, admin: Recording) -> None:
    admin._broker.create("test.one.retry.0", 4)
    admin._broker.create("test.one.fence", 1)

    started(tmp_path, admin, KEPT)

    assert list(admin.made) == ["test.one.retry.1"]


def test_what_cannot_be_made_stops_the_start_and_says_what_to_grant_or_make(
    tmp_path: Path, admin: Recording
) -> None:
    admin._broker.create("test.one.retry.0", 3)
    admin.refused = "TOPIC_AUTHORIZATION_FAILED"

    problems = stopped(tmp_path, admin, KEPT)

    assert [str(problem).split(": ", 1)[1] for problem in problems] == [
        "pipelines.one.retry.topics: topic 'test.one.retry.1' is not there, or not shown to this "
        "user, and cannot be made: TOPIC_AUTHORIZATION_FAILED; grant Create, Describe, Read and "
        "Write on it, or make it with partitions=3, cleanup.policy=delete, retention.ms=605400000, "
        "retention.bytes=-1, max.message.bytes=2065536 and grant the other three",
        "pipelines.one.retry.topics: topic 'test.one.fence' is not there, or not shown to this "
        "user, and cannot be made: TOPIC_AUTHORIZATION_FAILED; grant Create, Describe, Read and "
        "Write on it, or make it with partitions=1, cleanup.policy=compact, segment.ms=3600000, "
        "min.cleanable.dirty.ratio=0.01 and grant the other three",
    ]


def test_everything_that_is_wrong_with_retry_topics_is_told_at_once(
    tmp_path: Path, admin: Recording
) -> None:
    admin._broker.create("test.one.retry.0", 2)
    admin._broker.create("test.one.retry.2", 3)
    admin._broker.append("test.one.retry.2", b"")
    admin.refused = "no"

    problems = stopped(tmp_path, admin, LOOSE)

    assert [problem.text.split(" and ")[0].split(" is ")[0] for problem in problems] == [
        "topic 'test.one.retry.1'",
        "topic 'test.one.retry.0' has 2 partitions",
        "topic 'test.one.retry.2'",
    ]


def test_a_retry_topic_with_fewer_partitions_than_a_source_stops_the_start(
    tmp_path: Path, admin: Recording
) -> None:
    admin._broker.create("other", 2)
    admin._broker.create("test.one.retry.1", 2)

    (problem,) = stopped(tmp_path, admin, LOOSE, source="[source, other]")

    assert problem.path == "pipelines.one.retry.topics"
    assert problem.text == (
        "topic 'test.one.retry.1' has 2 partitions and 'source' 3: messages keep the number of "
        "theirs, so give 'test.one.retry.1' 3"
    )


@pytest.mark.parametrize("more", ["ordering: none\n    retry: {topics: [1m]}", "to: target"])
def test_a_tier_that_is_no_longer_configured_but_holds_messages_stops_the_start(
    tmp_path: Path, admin: Recording, more: str
) -> None:
    admin._broker.create("target")
    started(tmp_path, admin, LOOSE)
    for _ in range(3):
        admin._broker.append("test.one.retry.1", b"", partition=2)
    admin._broker.commit("test.one", TopicPartition("test.one.retry.1", 2), 1)

    (problem,) = stopped(tmp_path, admin, more)

    assert problem.text == (
        "topic 'test.one.retry.1' is that of a tier that is no longer configured, and holds "
        "messages that are not handled yet (2 at most): configure 2 tiers until they are, or "
        "delete it to give them up"
    )
    admin._broker.commit("test.one", TopicPartition("test.one.retry.1", 2), 3)
    started(tmp_path, admin, more)


@pytest.mark.parametrize(
    "topic", ["test.one.retry.0", "test.one.retry.07", "test.one.retry.x", "test1one.retry.9"]
)
def test_other_topics_are_not_taken_for_tiers_that_are_gone(
    tmp_path: Path, admin: Recording, topic: str
) -> None:
    admin._broker.create(topic, 3)
    admin._broker.append(topic, b"")

    started(tmp_path, admin, LOOSE)


def test_where_nobody_says_what_a_tier_holds_that_is_gone_there_is_no_start(
    tmp_path: Path, admin: Recording
) -> None:
    admin._broker.create("test.one.retry.5")
    admin.silent = True

    (problem,) = stopped(tmp_path, admin, LOOSE)

    assert problem.text == (
        "nobody says what is left in test.one.retry.5, no longer configured: "
        "GROUP_AUTHORIZATION_FAILED; grant this user Read on it"
    )


def test_a_retry_topic_that_is_gone_is_made_again_with_the_next_producer(
    tmp_path: Path, admin: Recording
) -> None:
    with assembled(tmp_path, admin, LOOSE) as assembly:
        assembly.prepare()
        del admin._broker.topics["test.one.retry.1"]
        admin.made.clear()

        assembly._clients("one").producer(alone=False).close(0)

    assert list(admin.made) == ["test.one.retry.1"]


def test_pipelines_that_are_not_run_need_no_retry_topics(tmp_path: Path, admin: Recording) -> None:
    top = "topics: {test.one.retry.0: {partitions: 1}}"
    more = f"{LOOSE}\n  two: {{from: source, handler: plain}}"

    with assembled(tmp_path, admin, more, top=top, only=["two"]) as assembly:
        assembly.prepare()

    assert admin.made == {}


@pytest.mark.parametrize(
    ("topic", "config", "expected"),
    [
        ("retry.1", {"cleanup.policy": "compact"}, "so of a key only the last would be kept"),
        ("retry.1", {"cleanup.policy": "compact,delete"}, "has cleanup.policy=compact,delete"),
        ("retry.1", {"retention.ms": "1199999"}, "messages wait there for 600s: set at least"),
        ("fence", {"cleanup.policy": "delete"}, "so fences would be deleted with time"),
        ("retry.1", {"cleanup.policy": "delete", "retention.ms": "1200000"}, None),
        ("retry.1", {"retention.ms": "-1"}, None),
        ("fence", {"cleanup.policy": "compact"}, None),
    ],
)
def test_topics_that_would_lose_what_they_hold_stop_the_start(
    tmp_path: Path, admin: Recording, topic: str, config: dict[str, str], expected: str | None
) -> None:
    name = f"test.one.{topic}"
    admin.configs[name] = config
    if expected is None:
        started(tmp_path, admin, KEPT)
        return

    (problem,) = stopped(tmp_path, admin, KEPT)

    assert f"pipelines.one.retry.topics: topic {name!r} has " in str(problem)
    assert expected in str(problem)
