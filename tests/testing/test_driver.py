"""A spec's pipelines in virtual time: what users' tests rest on."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.testing.driving import TOP, numbers, of, one, options
from worker.app import Options
from worker.errors import ClientFatal, Reject, Retry
from worker.spec import Document, load
from worker.testing import ALWAYS, At, Driver, Letter, NotFinished
from worker.testing.memory.group import Member
from worker.types import Message, Record, TopicPartition

SOURCE = TopicPartition("source", 0)
RETRIED = (
    "retry: {attempts: 3, backoff: {initial: 1s, max: 10s}, topics: [10m], keep_order: false}, "
    "dead_letter: dlq"
)


def send(driver: Driver, number: int, key: str = "k") -> Driver:
    for n in range(number):
        driver.send("source", {"n": n}, key)
    return driver


def test_what_is_sent_is_handled_and_committed(tmp_path: Path) -> None:
    with Driver(one(tmp_path), options()) as driver:
        send(driver, 3).run()

        assert driver.values("target") == [{"n": 0}, {"n": 1}, {"n": 2}]
        assert driver.committed["one"] == {SOURCE: 3}


def test_results_of_a_pipeline_go_on_through_the_next_one(tmp_path: Path) -> None:
    chained = """\
  one: {from: source, handler: handler, to: middle, delivery: exactly_once}
  two: {from: middle, handler: handler, to: target, delivery: exactly_once}
"""
    with Driver(of(tmp_path, chained), options()) as driver:
        send(driver, 1_000).run()

        assert numbers(driver.topic("target")) == list(range(1_000))
        assert sum(driver.committed["two"].values()) == sum(
            log.end for log in driver.broker.topics["middle"].logs
        )


def test_a_retry_of_ten_minutes_takes_no_time_and_is_made_ten_minutes_later(
    tmp_path: Path,
) -> None:
    with Driver(one(tmp_path, RETRIED), options()) as driver:
        driver.fail(ConnectionError, times=3)
        send(driver, 1).run()

        assert driver.values("target") == [{"n": 0}]
        assert list(driver.retries().values()) == [[1.0, 2.0, pytest.approx(600.0)]]


def test_a_message_that_always_fails_is_a_dead_letter_with_its_reason(tmp_path: Path) -> None:
    with Driver(one(tmp_path, RETRIED), options()) as driver:
        driver.fail(ConnectionError("gone"), At(value={"n": 1}), ALWAYS)
        send(driver, 3).run()

        (letter,) = driver.dead_letters
        assert isinstance(letter, Letter)
        assert (letter.reason, letter.error, letter.attempts) == (
            "handler_error",
            "ConnectionError",
            4,
        )
        assert driver.values("target") == [{"n": 0}, {"n": 2}]
        assert driver.committed["one"][SOURCE] == 3


def test_a_lane_that_waits_in_a_retry_topic_keeps_its_order(tmp_path: Path) -> None:
    keyed = "ordering: key, retry: {topics: [10m]}, dead_letter: dlq"
    with Driver(one(tmp_path, keyed), options()) as driver:
        driver.fail(ConnectionError, At(value={"n": 0}))
        send(driver, 3, "a")
        driver.send("source", {"n": 9}, "b").run()

        assert numbers(driver.topic("target")) == [9, 0, 1, 2]


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
@pytest.mark.parametrize("moment", ["before", "handled", "sent"])
def test_a_process_that_is_killed_is_followed_by_one_that_goes_on(
    tmp_path: Path, delivery: str, moment: Any
) -> None:
    with Driver(one(tmp_path, f"delivery: {delivery}"), options()) as driver:
        driver.kill(At(value={"n": 1}), moment=moment)
        send(driver, 3).run()

        again = delivery == "at_least_once" and moment == "sent"
        assert numbers(driver.topic("target")) == ([0, 1, 2] * 2 if again else [0, 1, 2])
        assert driver.committed["one"][SOURCE] == 3
        assert driver.clock.monotonic() >= 10.0  # the session of the one that was killed


def test_a_partition_that_is_revoked_comes_back_where_it_was(tmp_path: Path) -> None:
    with Driver(one(tmp_path), options()) as driver:
        driver.revoke(At(value={"n": 1}), seconds=5.0)
        send(driver, 3).run()
        send(driver, 1).run()

        assert numbers(driver.topic("target")) == [0, 1, 2, 0]


def test_what_a_lost_member_has_handled_is_handled_again(tmp_path: Path) -> None:
    with Driver(one(tmp_path), options()) as driver:
        driver.lose(At(value={"n": 1}))
        send(driver, 2).run()

        assert numbers(driver.topic("target")) == [0, 1, 0, 1]


def test_a_member_that_is_lost_already_is_lost_once(tmp_path: Path) -> None:
    with Driver(one(tmp_path, "ordering: key, dead_letter: dlq"), options()) as driver:
        driver.lose(times=2)
        for number in range(2):
            driver.send("source", {"n": number}, f"k{number}")
        driver.run()

        assert driver.dead_letters == []
        assert sorted(numbers(driver.topic("target"))) == [0, 0, 1, 1]


def test_an_exception_is_raised_each_time_as_if_it_were_the_first(tmp_path: Path) -> None:
    error = ConnectionError("gone")

    def ending(attempts: int) -> int:
        settings = f"retry: {{attempts: {attempts}, backoff: {{initial: 1ms}}}}, dead_letter: dlq"
        with Driver(one(tmp_path, settings), options()) as driver:
            driver.fail(error, times=ALWAYS)
            send(driver, 1).run()
            return len(traceback.extract_tb(error.__traceback__))

    traces = [ending(attempts) for attempts in (1, 9)]

    assert traces[0] == traces[1]


def test_a_record_that_brokers_always_refuse_is_a_dead_letter(tmp_path: Path) -> None:
    with Driver(one(tmp_path, "dead_letter: dlq"), options()) as driver:
        driver.refuse("INVALID_RECORD", At("target", value={"n": 1}), ALWAYS)
        send(driver, 3).run()

        assert [letter.reason for letter in driver.dead_letters] == ["unencodable"]
        assert set(numbers(driver.topic("target"))) == {0, 2}


def test_brokers_refuse_with_an_error_that_they_have(tmp_path: Path) -> None:
    with (
        Driver(one(tmp_path), options()) as driver,
        pytest.raises(ValueError, match="did you mean INVALID_RECORD"),
    ):
        driver.refuse("INVALID_RECRD")


def test_records_wait_for_brokers_that_are_away(tmp_path: Path) -> None:
    with Driver(one(tmp_path), options()) as driver:
        driver.broker.stop()
        driver.clock.at(90.0, driver.broker.start)
        send(driver, 2).run()

        assert driver.values("target") == [{"n": 0}, {"n": 1}]
        assert driver.clock.monotonic() >= 90.0


def test_only_what_is_due_is_done_while_time_passes(tmp_path: Path) -> None:
    with Driver(one(tmp_path, RETRIED), options()) as driver:
        driver.fail(ConnectionError, times=3)
        send(driver, 1).advance(599.0)
        assert driver.values("target") == []

        driver.advance(10.0)

        assert driver.values("target") == [{"n": 0}]


def test_async_handlers_batches_and_process_pools_are_handled_in_turn_too(tmp_path: Path) -> None:
    async def later(payload: dict[str, Any]) -> dict[str, Any]:
        return payload

    def together(payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return payloads

    for settings, made in (
        ("", options(later)),
        ("", options(together, batch=2)),
        ("pool: process", options()),
    ):
        with Driver(one(tmp_path, settings), made) as driver:
            send(driver, 5).run()

            assert numbers(driver.topic("target")) == [0, 1, 2, 3, 4]


def test_faults_are_met_by_batches_as_by_single_messages(tmp_path: Path) -> None:
    def together(payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return payloads

    with Driver(one(tmp_path, "dead_letter: dlq"), options(together, batch=3)) as driver:
        driver.fail(Reject("odd"), At(value={"n": 1}), ALWAYS)
        send(driver, 3).run()

        assert [letter.reason for letter in driver.dead_letters] == ["rejected"]
        assert set(numbers(driver.topic("target"))) == {0, 2}


def test_resources_are_replaced_and_torn_down(tmp_path: Path) -> None:
    seen = []

    def handler(payload: dict[str, Any], http: str, table: str) -> list[str]:
        return [http, table]

    def fake() -> Iterator[str]:
        yield "fake"
        seen.append("torn down")

    made = options(handler)
    with Driver(one(tmp_path), made, resources={"http": "plain", "table": fake}) as driver:
        send(driver, 1).run()
        assert driver.values("target") == ["plain", "fake"]

    assert seen == ["torn down"]


def test_a_pipeline_that_cannot_go_on_says_why(tmp_path: Path) -> None:
    with Driver(one(tmp_path, "on_error: stop"), options()) as driver:
        driver.fail(Reject("no"), times=1)
        send(driver, 1).run()

        assert "rejected" in driver.failed["one"]


def test_what_never_ends_is_given_up_after_a_while(tmp_path: Path) -> None:
    settings = "retry: {attempts: 1000000}, dead_letter: dlq"
    with Driver(one(tmp_path, settings), options()) as driver:
        driver.fail(Retry(delay=5.0), times=ALWAYS)
        send(driver, 1)

        with pytest.raises(NotFinished, match=r"one: 1 message in flight"):
            driver.run(within=60.0)


def test_what_never_ends_is_given_up_though_no_time_passes(tmp_path: Path) -> None:
    fed = """\
  one: {from: source, handler: handler, to: target}
  two: {from: target, handler: handler, to: source}
"""
    with Driver(of(tmp_path, fed), options()) as driver:
        send(driver, 1)

        with pytest.raises(NotFinished, match="on and on while no time passes; one: "):
            driver.run()


@pytest.mark.parametrize("seconds", [-1.0, math.inf, math.nan])
def test_time_passes_forward_and_up_to_an_end(tmp_path: Path, seconds: float) -> None:
    with (
        Driver(one(tmp_path), options()) as driver,
        pytest.raises(ValueError, match="seconds >= 0"),
    ):
        driver.advance(seconds)


def test_slow_handlers_take_virtual_time(tmp_path: Path) -> None:
    with Driver(one(tmp_path), options(), seconds=lambda _run: 30.0) as driver:
        send(driver, 1).run()

        assert driver.values("target") == [{"n": 0}]
        assert driver.clock.monotonic() >= 30.0


def test_a_slow_handler_is_waited_for_when_its_partition_is_revoked(tmp_path: Path) -> None:
    with Driver(one(tmp_path), options(), seconds=lambda _run: 15.0) as driver:
        send(driver, 1).advance(1.0)
        group = driver.broker.group("test.one")
        driver.clock.at(2.0, lambda: group.reassign(SOURCE, Member(())))
        driver.run()

        assert driver.committed["one"][SOURCE] == 1


@pytest.mark.parametrize("read", [Driver.topic, Driver.values])
def test_a_topic_that_nobody_knows_has_no_records_to_be_read(
    tmp_path: Path, read: Callable[[Driver, str], list[Any]]
) -> None:
    with (
        Driver(one(tmp_path), options()) as driver,
        pytest.raises(LookupError, match="no topic 'tagret'; there are source, target"),
    ):
        read(driver, "tagret")


def test_a_topic_that_a_pattern_would_read_has_no_records_until_it_is_made(tmp_path: Path) -> None:
    pipelines = "  one: {from: [source, ^more.*], handler: handler, to: target}\n"
    with Driver(of(tmp_path, pipelines), options()) as driver:
        assert driver.topic("more.of") == []


def test_a_topic_that_no_pipeline_knows_is_no_place_to_send_to(tmp_path: Path) -> None:
    with Driver(one(tmp_path), options()) as driver, pytest.raises(LookupError, match="source"):
        driver.send("sorce", {})


def test_two_processes_share_the_partitions(tmp_path: Path) -> None:
    settings = "  one: {from: shared, handler: handler, to: target}\n"
    with Driver(of(tmp_path, settings), options(), processes=2) as driver:
        for n in range(100):
            driver.send("shared", {"n": n}, f"k{n}")
        driver.run()

        assert sorted(numbers(driver.topic("target"))) == list(range(100))
        assert len({attempt.message.partition for attempt in driver.attempts}) == 4


def test_what_drains_is_committed(tmp_path: Path) -> None:
    driver = Driver(one(tmp_path), options())
    send(driver, 2).advance(0.0)

    driver.stop()

    assert driver.committed["one"][SOURCE] == 2


def test_nothing_starts_in_place_of_one_that_was_killed_once_all_were_to_end(
    tmp_path: Path,
) -> None:
    driver = Driver(one(tmp_path), options(), processes=2)
    driver.run()
    driver.kill_now(driver.processes[0])

    driver.stop()
    driver.start()
    driver.advance(60.0)

    assert [process.alive for process in driver.processes] == [True]


def test_nothing_starts_in_place_of_one_that_is_killed_while_it_drains(tmp_path: Path) -> None:
    driver = Driver(one(tmp_path), options()).kill(moment="sent")
    send(driver, 1).advance(0.0)

    driver.stop()
    driver.start()
    driver.advance(60.0)

    assert [process.alive for process in driver.processes] == [True]


def test_one_that_found_no_broker_does_not_start_once_all_were_to_end(tmp_path: Path) -> None:
    driver = Driver(one(tmp_path), options(), processes=0)
    driver.broker.stop()
    driver.start()

    driver.stop()
    driver.broker.start()
    driver.advance(60.0)

    assert driver.processes == []


def test_a_message_knows_its_attempts_wherever_it_waits(tmp_path: Path) -> None:
    seen: list[Message] = []

    def handler(payload: dict[str, Any], message: Message) -> None:
        seen.append(message)
        raise ConnectionError

    with Driver(one(tmp_path, RETRIED), options(handler)) as driver:
        send(driver, 1).run()

    assert [message.topic for message in seen] == ["source"] * 3 + ["test.one.retry.0"]


def test_results_may_have_the_time_of_a_message_that_was_written_today(tmp_path: Path) -> None:
    today = 1_795_900_000_000
    with Driver(one(tmp_path, "timestamps: source"), options()) as driver:
        driver.send("source", {"n": 1}, timestamp=today).run()

        assert [message.timestamp for message in driver.topic("target")] == [today]


def test_records_for_a_topic_that_was_deleted_are_given_up_when_their_time_is_over(
    tmp_path: Path,
) -> None:
    with Driver(one(tmp_path), options()) as driver:
        driver.broker.delete("target")
        send(driver, 1).run()

        first, second = [attempt.at for attempt in driver.attempts]
        assert second - first >= 30.0
        assert driver.values("target") == [{"n": 0}], "the worker has made it again"


def test_groups_are_led_as_the_spec_says_and_know_an_instance(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    kafka = "kafka: {brokers: localhost:1, group: {rebalance: range}}"
    pipelines = "pipelines:\n  one: {from: source, handler: handler, instance: first}\n"
    file.write_text(TOP.replace("kafka: {brokers: localhost:1}", kafka) + pipelines)

    with Driver(load(file, {}), options()) as driver:
        group = driver.broker.group("test.one")

        assert group.is_eager
        assert group.has_instance("test.one.first")


LIMITED = "  target: {partitions: 1, config: {max.message.bytes: 2000}}"
COMPACTED = "  target: {partitions: 1, config: {cleanup.policy: compact}}"


def to_a_target(folder: Path, target: str) -> Document:
    """A spec of one pipeline whose target is made so."""
    file = folder / "spec.yaml"
    pipeline = "{from: source, handler: handler, to: target, dead_letter: dlq}"
    top = TOP.replace("  target: {partitions: 1}", target)
    file.write_text(f"{top}pipelines:\n  one: {pipeline}\n")
    return load(file, {})


def test_batches_are_no_larger_than_the_topic_takes_them(tmp_path: Path) -> None:
    def five(payload: dict[str, Any]) -> list[Record]:
        return [Record("x" * 900, key="k") for _ in range(5)]

    with Driver(to_a_target(tmp_path, LIMITED), options(five)) as driver:
        send(driver, 1).run()

        assert len(driver.topic("target")) == 5
        assert len(driver.attempts) == 1


def test_a_record_that_spoils_its_batch_is_the_only_dead_letter(tmp_path: Path) -> None:
    with Driver(to_a_target(tmp_path, COMPACTED), options()) as driver:
        for key in ("a", None, "b"):
            driver.send("source", {"n": 1}, key)
        driver.run()

        assert [message.key for message in driver.topic("target")] == [b"a", b"b"]
        assert [letter.message.key for letter in driver.dead_letters] == [None]


@pytest.mark.parametrize("ordering", ["partition", "key"])
def test_a_pipeline_is_held_to_its_rate_in_virtual_time(tmp_path: Path, ordering: str) -> None:
    settings = f"ordering: {ordering}, rate_limit: 2/m"
    with Driver(one(tmp_path, settings), options()) as driver:
        send(driver, 5).run()

        assert numbers(driver.topic("target")) == [0, 1, 2, 3, 4]
        assert 119.0 <= driver.attempts[-1].at <= 121.0


def test_lanes_are_held_to_their_rates_in_virtual_time(tmp_path: Path) -> None:
    settings = "ordering: key, rate_limit: {lane: 1/m}"
    with Driver(one(tmp_path, settings), options()) as driver:
        send(driver, 3, "a")
        send(driver, 3, "b").run()

        assert 119.0 <= driver.attempts[-1].at <= 121.0


def test_a_breaker_lets_a_probe_through_each_time_that_it_is_due(tmp_path: Path) -> None:
    settings = (
        "retry: {attempts: 9, backoff: {initial: 1ms}}, dead_letter: dlq, "
        "breaker: {name: away, failures: 2, reset: 1h}"
    )
    with Driver(one(tmp_path, settings), options()) as driver:
        driver.fail(ConnectionError, times=4)
        send(driver, 2).run(within=86_400.0)

        assert numbers(driver.topic("target")) == [0, 1]
        assert [round(attempt.at / 3600) for attempt in driver.attempts[:5]] == [0, 0, 1, 2, 3]


def test_a_flood_of_failures_is_probed_until_it_is_over(tmp_path: Path) -> None:
    settings = "dead_letter: dlq, flood_limit: {max_consecutive: 5}"
    with Driver(one(tmp_path, settings), options()) as driver:
        driver.fail(Reject("all of them"), times=70)
        send(driver, 60).run()

        found = len(driver.dead_letters) + len({*numbers(driver.topic("target"))})
        assert found == 60
        assert driver.clock.monotonic() > 30.0  # the probes wait for 1, 2, 4, 8, 16, 30 s


def test_a_message_that_ends_each_process_is_given_up_as_a_crash(tmp_path: Path) -> None:
    with Driver(one(tmp_path, "dead_letter: dlq"), options()) as driver:
        driver.kill(At(value={"n": 1}), ALWAYS, moment="before")
        send(driver, 3).run()

        assert [letter.reason for letter in driver.dead_letters] == ["crash"]
        assert {*numbers(driver.topic("target"))} == {0, 2}
        assert driver.committed["one"][SOURCE] == 3


def test_it_is_found_out_in_a_process_apart_unless_its_handler_is_async(tmp_path: Path) -> None:
    async def later(payload: dict[str, Any]) -> dict[str, Any]:
        return payload

    def starts(made: Options) -> int:
        with Driver(one(tmp_path, "dead_letter: dlq"), made) as driver:
            driver.kill(At(value={"n": 1}), ALWAYS, moment="before")
            send(driver, 3).run()

            assert [letter.reason for letter in driver.dead_letters] == ["crash"]
            return len(driver.broker.consumers)

    assert (starts(options()), starts(options(later))) == (4, 8)


def test_fences_are_lifted_though_brokers_were_away_meanwhile(tmp_path: Path) -> None:
    keyed = "ordering: key, retry: {topics: [1m]}, dead_letter: dlq"
    with Driver(one(tmp_path, keyed), options()) as driver:
        driver.fail(ConnectionError, At(value={"n": 0}))
        driver.clock.at(30.0, driver.broker.stop)
        driver.clock.at(150.0, driver.broker.start)
        send(driver, 2, "a").run()
        send(driver, 1, "a").run()

        assert numbers(driver.topic("target")) == [0, 1, 0]
        assert driver.attempts[-1].message.topic == "source"


def test_a_backlog_larger_than_what_may_be_in_flight_is_worked_off(tmp_path: Path) -> None:
    settings = "in_flight: {messages: 50}, ordering: key"
    with Driver(one(tmp_path, settings), options()) as driver:
        for n in range(2_000):
            driver.send("source", {"n": n}, f"k{n % 7}")
        driver.run()

        assert sorted(numbers(driver.topic("target"))) == list(range(2_000))
        assert driver.committed["one"][SOURCE] == 2_000


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_the_same_story_is_told_the_same_way_again(tmp_path: Path, delivery: str) -> None:
    def story() -> list[tuple[float, int, str]]:
        settings = f"{RETRIED}, delivery: {delivery}"
        with Driver(one(tmp_path, settings), options(), processes=2) as driver:
            driver.fail(ConnectionError, At(value={"n": 3}), 4)
            driver.kill(At(value={"n": 5}), moment="handled")
            driver.lose(At(value={"n": 8}))
            send(driver, 20).run()
            return [(one.at, one.message.offset, one.message.topic) for one in driver.attempts]

    assert story() == story()


def test_what_could_not_be_delivered_is_tried_again_when_the_wait_is_over(tmp_path: Path) -> None:
    with Driver(one(tmp_path), options()) as driver:
        driver.refuse("_MSG_TIMED_OUT", At("target"), times=3)
        send(driver, 1).run()

        assert driver.values("target") == [{"n": 0}]
        assert driver.clock.monotonic() >= 0.5 + 1.0 + 2.0


def test_clients_that_are_lost_are_made_anew_when_the_wait_is_over(tmp_path: Path) -> None:
    with Driver(one(tmp_path), options()) as driver:
        driver.broker.consumers[0].fail(ClientFatal("gone"))
        send(driver, 1).run()

        assert driver.values("target") == [{"n": 0}]
        assert len(driver.broker.consumers) == 2


def test_a_fence_is_lifted_as_soon_as_what_raised_it_is_through(tmp_path: Path) -> None:
    keyed = "ordering: key, retry: {topics: [1m]}, dead_letter: dlq"
    with Driver(one(tmp_path, keyed), options()) as driver:
        driver.fail(ConnectionError)
        send(driver, 1, "a").run()

        raised, lifted = driver.topic("test.one.fence")
        assert (raised.key, lifted.value) == (lifted.key, None)


def test_a_message_that_ends_processes_is_found_out_beside_other_pipelines(tmp_path: Path) -> None:
    pipelines = """\
  one: {from: source, handler: handler, to: target, dead_letter: dlq}
  two: {from: other, handler: handler, to: target, dead_letter: dlq}
"""
    with Driver(of(tmp_path, pipelines), options()) as driver:
        driver.kill(At("source", value={"n": 1}), ALWAYS, moment="before")
        driver.send("other", {"n": 7}, "k")
        send(driver, 3).run()

        assert [letter.reason for letter in driver.dead_letters] == ["crash"]
        assert driver.clock.monotonic() < 120.0


def test_a_process_that_was_killed_is_given_no_clients_any_more(tmp_path: Path) -> None:
    with Driver(one(tmp_path, "delivery: exactly_once"), options()) as driver:
        (process,) = driver.processes
        process.kill()

        with pytest.raises(ClientFatal, match="killed"):
            process.clients.transactional("test.one", driver.spec.pipelines["one"], {}, alone=False)


def test_a_handler_has_taken_virtual_time_and_no_other(tmp_path: Path) -> None:
    with Driver(one(tmp_path), options(), seconds=lambda _run: 2.5) as driver:
        send(driver, 1).run()

        (pipeline,) = driver.processes[0].pipelines
        assert pipeline.loop.state.counts.handling.seconds == 2.5
