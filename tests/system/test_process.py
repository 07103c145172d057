"""Worker processes that are killed, stopped, joined and left without brokers."""

from __future__ import annotations

import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.system.rig import Kafka, Spec, free_port, ids, is_in_order, is_through, numbered
from worker.kafka.admin import KafkaAdmin
from worker.kafka.broker import KafkaCluster
from worker.settings import KafkaSettings, TopicSettings

pytestmark = pytest.mark.kafka


def test_ten_kills_lose_nothing_and_double_only_what_was_not_committed(
    kafka: Kafka, tmp_path: Path
) -> None:
    records, in_flight, per_commit = 8_000, 200, 100
    settings = {
        "in_flight": {"messages": in_flight},
        "commit": {"interval": "100ms", "messages": per_commit},
        "instance": "one",
    }
    spec = Spec(kafka, tmp_path, "echo_slowly", settings)
    spec.create_topics()
    kafka.produce(spec.source, numbered(records))
    chance = random.Random(7)
    allowed: set[int] = set()
    windows = []

    for _ in range(10):
        moment = chance.randrange(1, 500)
        with spec.worker() as worker:
            worker.until_handled(moment)
            worker.kill()
        committed = [max(0, offset) for offset in kafka.committed(spec.group, spec.source)]
        produced = set(ids(kafka.read(spec.target)))
        window = {one for one in produced if one // 4 >= committed[one % 4]}
        allowed |= window
        windows.append(len(window))
    with spec.worker() as worker:
        worker.until(lambda: is_through(kafka, spec, records))
        assert worker.stop() == 0

    results = kafka.read(spec.target)
    counts = Counter(ids(results))
    assert is_in_order(results)
    assert set(counts) == set(range(records))
    assert {one for one, times in counts.items() if times > 1} <= allowed
    assert max(windows) <= in_flight + 10 * per_commit


def test_a_stop_with_work_in_flight_loses_and_doubles_nothing(kafka: Kafka, tmp_path: Path) -> None:
    records = 6_000
    spec = Spec(kafka, tmp_path, "echo_slowly")
    spec.create_topics()
    kafka.produce(spec.source, numbered(records))

    for moment in (1, 700, 1_500):
        with spec.worker() as worker:
            worker.until_handled(moment)
            assert worker.stop() == 0, worker.log
    with spec.worker() as worker:
        worker.until(lambda: is_through(kafka, spec, records))
        assert worker.stop() == 0

    results = kafka.read(spec.target)
    assert sorted(ids(results)) == list(range(records))
    assert is_in_order(results)


def test_a_second_worker_takes_its_share_and_gives_it_back_without_loss_or_double(
    kafka: Kafka, tmp_path: Path
) -> None:
    records = 12_000
    spec = Spec(kafka, tmp_path, "echo_slowly")
    spec.create_topics()
    messages = list(numbered(records))
    kafka.produce(spec.source, messages[:9_000])

    with spec.worker() as first:
        first.until(lambda: first.count("handled") > 0)
        with spec.worker() as second:
            second.until(lambda: second.owned() == 2)
            first.until(lambda: first.owned() == 2)
            kafka.produce(spec.source, messages[9_000:])  # it may have come when all was through
            second.until(lambda: second.count("handled") > 500)
            assert second.stop() == 0
        first.until(lambda: first.owned() == 4)
        first.until(lambda: is_through(kafka, spec, records))
        assert first.stop() == 0

    results = kafka.read(spec.target)
    assert sorted(ids(results)) == list(range(records))
    assert is_in_order(results)


def test_a_worker_waits_for_brokers_at_start_and_survives_their_restart(tmp_path: Path) -> None:
    port = free_port()
    kafka = Kafka(f"127.0.0.1:{port}")
    spec = Spec(kafka, tmp_path, "echo", {"commit": {"interval": "200ms"}})

    cluster = KafkaCluster(ports=[port], folder=tmp_path / "kafka")
    with spec.worker("--create-topics") as worker, cluster:
        worker.until(worker.is_ready)
        kafka.produce(spec.source, numbered(1_000))
        worker.until(lambda: worker.count("produced") >= 1_000)

        cluster.stop_node(0)
        worker.until(worker.codes)
        assert worker.get("/livez")["reasons"] == []
        cluster.start_node(0)

        worker.until(worker.is_ready)
        kafka.produce(spec.source, numbered(1_000))
        worker.until(lambda: is_through(kafka, spec, 2_000))
        assert worker.stop() == 0


def test_a_handler_that_hangs_is_left_at_the_drain_timeout_and_its_message_comes_again(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "hang", {"drain_timeout": "1s"})
    spec.create_topics()
    kafka.produce(spec.source, numbered(1))

    with spec.worker() as worker:
        worker.until(lambda: worker.count("received") == 1)
        assert worker.stop() == 4

    assert kafka.committed(spec.group, spec.source)[0] <= 0


@pytest.mark.parametrize("handler", ["hang", "block"])
def test_a_second_signal_ends_the_worker_at_once(
    kafka: Kafka, tmp_path: Path, handler: str
) -> None:
    spec = Spec(kafka, tmp_path, handler, {"drain_timeout": "1h"})
    spec.create_topics()
    kafka.produce(spec.source, numbered(1))

    with spec.worker() as worker:
        worker.until(lambda: worker.count("received") == 1)
        worker.send(signal.SIGTERM)
        worker.until(lambda: worker.get("/stats")["draining"])
        worker.send(signal.SIGINT)
        assert worker.ended() == 4

    assert kafka.committed(spec.group, spec.source)[0] <= 0, "what was at work comes again"


def test_a_pipeline_that_stops_for_good_says_so_and_leaves_the_others_running(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "echo")
    spec.create_topics()
    pipelines = {
        "pipeline": {"from": spec.source, "to": spec.target, "handler": "echo"},
        "stops": {"from": spec.source, "handler": "refuse"},
    }

    with spec.worker(pipelines=pipelines) as worker:
        kafka.produce(spec.source, numbered(100))
        worker.until(lambda: worker.pipeline("stops").get("status") == "failed")
        reasons = " ".join(one["text"] for one in worker.get("/readyz")["reasons"])
        assert "stops: stopped: Message(" in reasons
        assert "give the pipeline a `dead_letter` topic" in reasons
        worker.until(lambda: worker.count("produced") == 100)
        assert worker.stop() == 1


def test_a_worker_whose_pipelines_have_all_stopped_ends_with_1(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "refuse")
    spec.create_topics()
    kafka.produce(spec.source, numbered(1))

    with spec.worker() as worker:
        assert worker.ended() == 1
        assert "could not be handled: handler_error ValueError" in worker.log


def test_missing_topics_are_listed_with_the_command_that_makes_them(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "echo")

    with spec.worker() as worker:
        assert worker.ended() == 78

    assert f"topic '{spec.source}' does not exist" in worker.log
    assert f"topic '{spec.target}' does not exist" in worker.log
    assert "make it with: worker apply" in worker.log
    assert "Traceback" not in worker.log


def test_brokers_that_stay_away_end_a_worker_that_was_told_how_long_to_wait(tmp_path: Path) -> None:
    spec = Spec(Kafka(f"127.0.0.1:{free_port()}"), tmp_path, "echo", top={"startup_timeout": "1s"})

    with spec.worker() as worker:
        assert worker.ended() == 69

    assert "Traceback" not in worker.log


def test_a_second_process_with_the_same_instance_ends_the_first_with_3(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "echo", {"instance": "same"})
    spec.create_topics()

    with spec.worker() as first:
        first.until(first.is_ready)
        with spec.worker() as second:
            assert first.ended() == 3
            second.until(second.is_ready)
            assert second.stop() == 0


def test_a_result_too_large_for_its_topic_becomes_a_dead_letter(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "echo")
    kafka.create(spec.source, f"{spec.name}.dlq")
    pipeline = {
        "from": spec.source,
        "to": spec.target,
        "handler": "echo",
        "dead_letter": f"{spec.name}.dlq",
    }
    KafkaAdmin(KafkaSettings(brokers=[kafka.address])).create(
        {spec.target: TopicSettings(partitions=4, config={"max.message.bytes": 2_000})}
    )
    large = b'{"id":1,"text":"%s"}' % (b"x" * 3_000)
    kafka.produce(
        spec.source, [(b"a", b'{"id":%d}' % n, 0) for n in range(500)] + [(b"b", large, 0)]
    )

    with spec.worker(pipelines={"pipeline": pipeline}) as worker:
        worker.until(lambda: is_through(kafka, spec, 501))
        assert worker.stop() == 0

    (letter,) = kafka.read(f"{spec.name}.dlq")
    assert dict(letter.headers() or [])["dlq.reason"] == b"too_large"
    assert letter.value() == large
    assert len(kafka.read(spec.target)) == 500
