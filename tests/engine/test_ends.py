from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from tests.engine.rig import Rig
from worker.engine.ends import LogEnd, LogEnds
from worker.engine.pipeline import PipelineLoop
from worker.errors import BrokersUnreachable
from worker.ports import Clock, Offsets
from worker.testing import ManualClock
from worker.types import Isolation, TopicPartition

ONE, OTHER = TopicPartition("topic", 0), TopicPartition("topic", 1)
GONE = TopicPartition("gone", 0)


class Cluster:
    """Answers as long as it is up, in its own time."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.questions: list[tuple[Sequence[TopicPartition], Isolation]] = []
        self.asked = threading.Event()
        self.end = 7
        self.up = True

    def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Offsets:
        self.questions.append((partitions, isolation))
        self.asked.set()
        self.clock.advance(1.0)
        if not self.up:
            raise BrokersUnreachable("no broker answers")
        return {one: self.end for one in partitions if one != GONE}


def test_what_is_wanted_is_asked_for_and_each_partition_once() -> None:
    cluster = Cluster()
    ends = LogEnds(cluster.ends, cluster.clock)

    ends.look()
    ends.want("a", [ONE], "read_committed")
    ends.want("b", [ONE, OTHER], "read_committed")
    ends.look()
    ends.want("b", [], "read_committed")
    ends.look()

    assert cluster.questions == [([ONE, OTHER], "read_committed"), ([ONE], "read_committed")]
    assert ends.known(ONE, "read_committed") is not None
    assert ends.known(OTHER, "read_committed") is None


def test_pipelines_of_another_isolation_are_told_other_ends() -> None:
    cluster = Cluster()
    ends = LogEnds(cluster.ends, cluster.clock)

    ends.want("a", [ONE], "read_committed")
    ends.want("b", [OTHER], "read_uncommitted")
    ends.look()

    assert cluster.questions == [([ONE], "read_committed"), ([OTHER], "read_uncommitted")]
    assert ends.known(OTHER, "read_uncommitted") is not None
    assert ends.known(OTHER, "read_committed") is None


def test_an_end_is_known_as_of_when_the_question_was_sent() -> None:
    cluster = Cluster()
    ends = LogEnds(cluster.ends, cluster.clock)
    ends.want("a", [ONE, GONE], "read_committed")
    sent = cluster.clock.monotonic()

    ends.look()

    assert ends.known(ONE, "read_committed") == LogEnd(7, sent)
    assert ends.asked == sent
    assert ends.known(GONE, "read_committed") is None
    assert cluster.clock.monotonic() > sent


def test_without_an_answer_what_was_known_stays_and_the_silence_has_a_beginning() -> None:
    cluster = Cluster()
    ends = LogEnds(cluster.ends, cluster.clock)
    ends.want("a", [ONE], "read_committed")
    ends.look()
    known = ends.known(ONE, "read_committed")
    assert ends.silent_since is None

    cluster.up = False
    begun = cluster.clock.monotonic()
    ends.look()
    ends.look()
    assert ends.known(ONE, "read_committed") == known
    assert ends.silent_since == begun

    cluster.up = True
    ends.look()
    assert ends.silent_since is None
    assert ends.known(ONE, "read_committed") != known


def test_a_defect_of_who_is_asked_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_partitions: Sequence[TopicPartition], _isolation: Isolation) -> Offsets:
        raise ZeroDivisionError

    ends = LogEnds(broken, ManualClock())
    ends.want("a", [ONE], "read_committed")

    ends.look()

    assert "ZeroDivisionError" in caplog.text


def test_what_is_wanted_is_asked_for_beside_the_pipelines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.engine.ends.ASK_EVERY", 0.001)
    cluster = Cluster()
    ends = LogEnds(cluster.ends, Clock())

    with ends.asking():
        ends.want("a", [ONE], "read_committed")
        assert cluster.asked.wait(30)

    assert cluster.questions[0] == ([ONE], "read_committed")


def test_that_no_broker_answers_is_told_of_a_pipeline_that_takes_no_step() -> None:
    rig = Rig(lambda payload: payload)
    rig.log_ends.want("pipeline", [TopicPartition("source", 0)], "read_committed")
    loop = PipelineLoop(rig.runner.job, rig._clients, rig.pool, rig.clock, rig.observer)
    rig.broker.stop()
    rig.log_ends.look()
    rig.clock.advance(9.0)

    assert loop.state.silent_for is None, "it has not looked"
    assert loop.state_at(rig.clock.monotonic()).silent_for == pytest.approx(9.0)
