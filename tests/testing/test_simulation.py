"""The simulator: it finds every planted bug, and nothing where there is none."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import randbelow
from typing import Any

import pytest
import yaml

from tests.testing.simulated import PIPELINES, spec
from worker.engine.chunk import Chunk
from worker.engine.outbox import Outbox
from worker.engine.partition import Finished, Partition
from worker.engine.runner import Runner
from worker.errors import ClientError
from worker.flow.lanes import KeyLanes
from worker.flow.offsets import OffsetTracker, Ranges
from worker.settings.simulation import Scheduled
from worker.spec import Document
from worker.testing.simulation.drawing import draw, stage_of
from worker.testing.simulation.history import History
from worker.testing.simulation.promises import broken
from worker.testing.simulation.schedule import Schedule, schedule_of
from worker.testing.simulation.shrinking import shrink
from worker.testing.simulation.simulator import simulate
from worker.testing.simulation.stubs import stubbed
from worker.types import Fetch, RawMessage, TopicPartition

MESSAGES = 200
FRESH = -(-200 // len(PIPELINES))
"""Seeds of each spec, so that there are 200 in all."""
FOUND = Path(__file__).with_name("found.yaml")
MOST_SEEDS = 60
"""A planted bug is found in so many."""


def run(document: Document, seed: int, messages: int = MESSAGES) -> History:
    schedule = draw(seed, messages, stage_of(document.spec))
    return simulate(document, stubbed(document.spec), schedule)


def promises_broken(document: Document, seed: int) -> set[str]:
    return {one.promise for one in broken(run(document, seed))}


def test_topics_are_as_the_spec_says(tmp_path: Path) -> None:
    history = run(spec("partition", tmp_path), 1, messages=20)

    assert {one.partition for one in history.ends if one.topic == "in"} == {0, 1, 2}
    assert {one.partition for one in history.ends if one.topic == "dlq"} == {0}


@pytest.mark.parametrize("name", PIPELINES)
def test_fresh_seeds_break_no_promise(name: str, tmp_path: Path) -> None:
    """What fails here says its seed; what was wrong goes into found.yaml with its schedule."""
    document, first = spec(name, tmp_path), randbelow(10**9)

    found = {
        seed: promises
        for seed in range(first, first + FRESH)
        if (promises := promises_broken(document, seed))
    }

    assert found == {}


@pytest.mark.parametrize("once", yaml.safe_load(FOUND.read_text()), ids=lambda one: one["wrong"])
def test_what_has_broken_a_promise_once_does_so_no_more(
    once: dict[str, Any], tmp_path: Path
) -> None:
    document = spec(once["spec"], tmp_path)
    schedule = schedule_of(Scheduled.model_validate(once["schedule"]))

    assert broken(simulate(document, stubbed(document.spec), schedule)) == []


def test_a_seed_gives_the_same_run_in_every_process(tmp_path: Path) -> None:
    spec("exact-lanes", tmp_path)
    script = tmp_path / "run.py"
    script.write_text(SCRIPT % os.fspath(tmp_path))

    runs = {
        subprocess.run(
            [sys.executable, script],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.fspath(Path.cwd())},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    (one,) = runs
    assert one.count(b"Ended") > MESSAGES


SCRIPT = """\
import logging
from pathlib import Path
from tests.testing.simulated import spec
from tests.testing.test_simulation import run

logging.disable()
for seed in range(6):
    history = run(spec("exact-lanes", Path(%r)), seed)
    print(*history.facts, history.results, history.letters, sep="\\n")
"""


# --- planted bugs ---


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Keep no log of thousands of things that go wrong."""
    caplog.set_level(logging.CRITICAL, "worker")


Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Bug:
    """A bug, where it is planted and which promise it breaks."""

    name: str
    pipelines: str
    promise: str
    plant: Plant


def commits_what_it_has_read(patch: pytest.MonkeyPatch) -> None:
    take = Partition.take

    def taken_and_finished(self: Partition, fetch: Fetch) -> Fetch:
        found = take(self, fetch)
        self.tracker.finish(self.tracker.committable, self.tracker.position)
        return found

    patch.setattr(Partition, "take", taken_and_finished)


def ignores_delivery_errors(patch: pytest.MonkeyPatch) -> None:
    def failed(self: Outbox, chunk: Chunk, _place: int | None, _error: ClientError) -> None:
        self._stored(chunk, 1)

    patch.setattr(Outbox, "_failed", failed)


def reads_on_after_an_abort(patch: pytest.MonkeyPatch) -> None:
    replaced = Runner._replace

    def without_seek(
        self: Runner, partition: Partition, start: int, finished: Ranges = ()
    ) -> Partition:
        position = partition.tracker.position
        found = replaced(self, partition, start, finished)
        self.consumer.seek(partition.source, position)
        return found

    patch.setattr(Runner, "_replace", without_seek)


def goes_on_with_what_is_lost(patch: pytest.MonkeyPatch) -> None:
    def keep(self: Runner, partitions: Sequence[TopicPartition]) -> None:
        """Go on as if nothing had happened."""

    def assigned(self: Runner, committed: Any) -> Any:
        known = {p: self.partitions[p].tracker.position for p in committed if p in self.partitions}
        fresh = {p: commit for p, commit in committed.items() if p not in known}
        return {**take_over(self, fresh), **known}

    take_over = Runner._take_over
    patch.setattr(Runner, "lost", keep)
    patch.setattr(Runner, "_take_over", assigned)


def counts_one_too_many(patch: pytest.MonkeyPatch) -> None:
    skip_to = OffsetTracker.skip_to

    def skip_further(self: OffsetTracker, offset: int) -> None:
        if offset > self.position:
            self.finish(self.position, offset + 1)
        skip_to(self, offset)

    patch.setattr(OffsetTracker, "skip_to", skip_further)


def releases_lanes_as_they_are_taken(patch: pytest.MonkeyPatch) -> None:
    take, release = KeyLanes.take, KeyLanes.release

    def take_and_release(self: KeyLanes, limit: int) -> list[RawMessage]:
        run = take(self, limit)
        release(self, run, len(run))
        return run

    patch.setattr(KeyLanes, "take", take_and_release)
    patch.setattr(KeyLanes, "release", lambda *_: None)


def applies_stale_outcomes(patch: pytest.MonkeyPatch) -> None:
    settle = Runner._settle_run

    def settled(self: Runner, finished: Finished) -> None:
        now = self.partitions.get(finished.run.partition.source)
        if not finished.run.partition.alive and now is not None:
            for message in finished.run.messages[: len(finished.outcomes)]:
                now.tracker.finish(message.offset(), message.offset() + 1)
        settle(self, finished)

    patch.setattr(Runner, "_settle_run", settled)


def merges_one_range_too_few(patch: pytest.MonkeyPatch) -> None:
    def merge(self: OffsetTracker, start: int, end: int) -> None:
        first, last = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first : last - 1] = [start]
        self._ends[first : last - 1] = [end]

    patch.setattr(OffsetTracker, "_merge", merge)


def sends_results_twice(patch: pytest.MonkeyPatch) -> None:
    put = Outbox.put

    def put_twice(self: Outbox, chunk: Chunk) -> None:
        again(chunk, "out")
        put(self, chunk)

    patch.setattr(Outbox, "put", put_twice)


def sends_dead_letters_twice(patch: pytest.MonkeyPatch) -> None:
    put = Outbox.put

    def put_twice(self: Outbox, chunk: Chunk) -> None:
        again(chunk, "dlq")
        put(self, chunk)

    patch.setattr(Outbox, "put", put_twice)


def drains_without_a_commit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Runner, "_commit_until", lambda *_: None)


def gives_up_without_a_commit(patch: pytest.MonkeyPatch) -> None:
    revoked = Runner.revoked

    def uncommitted(self: Runner, partitions: Sequence[TopicPartition]) -> None:
        with patch.context() as meanwhile:
            meanwhile.setattr(self.committer, "commit_now", lambda *_, **__: None)
            revoked(self, partitions)

    patch.setattr(Runner, "revoked", uncommitted)


def again(chunk: Chunk, topic: str) -> None:
    chunk.records = [*chunk.records, *(one for one in chunk.records if one.topic == topic)]
    chunk.number = chunk.unacknowledged = len(chunk.records)


LOST = "nothing is lost"
EARLY = "a commit covers what is finished"
AGAIN = "what is committed is not handled again"
SENT_TWICE = "nothing is sent twice"
ORDER = "lanes keep their order"
CUT_SHORT = "a run comes to its end"
BUGS = [
    Bug("commit before the handler ends", "partition", EARLY, commits_what_it_has_read),
    Bug("delivery error ignored", "partition", EARLY, ignores_delivery_errors),
    Bug("no seek after an abort", "exact", LOST, reads_on_after_an_abort),
    Bug("commit after lost", "key", AGAIN, goes_on_with_what_is_lost),
    Bug("one offset too many across a gap", "partition", EARLY, counts_one_too_many),
    Bug("lane released twice", "key", ORDER, releases_lanes_as_they_are_taken),
    Bug("stale outcome applied", "key", EARLY, applies_stale_outcomes),
    Bug("results sent twice", "key", SENT_TWICE, sends_results_twice),
    Bug("dead letters sent twice", "tiers", SENT_TWICE, sends_dead_letters_twice),
    Bug("no commit at a drain", "key", AGAIN, drains_without_a_commit),
    Bug("no commit at a revoke", "key", AGAIN, gives_up_without_a_commit),
    Bug("one range too few merged", "key", CUT_SHORT, merges_one_range_too_few),
]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = spec(bug.pipelines, tmp_path)
    bug.plant(monkeypatch)

    found = (promises_broken(document, seed) for seed in range(MOST_SEEDS))

    assert any(bug.promise in promises for promises in found)


def test_what_the_worker_raises_is_told_with_its_place_and_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = spec("key", tmp_path)
    merges_one_range_too_few(monkeypatch)

    found = (broken(run(document, seed)) for seed in range(MOST_SEEDS))

    (one,) = next(those for those in found if any(one.promise == CUT_SHORT for one in those))
    assert re.match(r"ValueError at worker\.flow\.envelope:\d+ in \w+: byte must be", one.text)


def test_a_seed_gives_the_same_run_wherever_its_objects_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a worker with a bug, too: what is found in one is to be found again, and shortened."""
    document = spec("key", tmp_path)
    releases_lanes_as_they_are_taken(monkeypatch)
    facts, between = set(), []

    for number in range(8):
        facts.add(repr(run(document, 5).facts))
        between.append([object() for _ in range(31 * number)])

    assert len(facts) == 1


def test_a_broken_promise_is_shown_by_the_shortest_schedule_that_breaks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = spec("partition", tmp_path)
    ignores_delivery_errors(monkeypatch)
    stage = stage_of(document.spec)

    def breaks(schedule: Schedule) -> bool:
        found = broken(simulate(document, stubbed(document.spec), schedule))
        return any(one.promise == EARLY for one in found)

    long = next(one for seed in range(MOST_SEEDS) if breaks(one := draw(seed, MESSAGES, stage)))

    short = shrink(long, breaks)

    assert breaks(short)
    assert len(short.given) == 1
    assert {event.what for event in short.events} <= {"time out", "refuse", "hold", "outage"}
    assert len(short.events) == 1
    assert short.processes == 1
