from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import inf
from typing import Any

import pytest

from worker.flow.doctor.causes import is_busy
from worker.flow.doctor.facts import Durations, Facts, Source, Standing, Working
from worker.flow.doctor.finding import Finding
from worker.flow.doctor.verdicts import findings
from worker.settings import Pipeline
from worker.types import TopicInfo, TopicPartition


def pipeline(**settings: Any) -> Pipeline:
    return Pipeline.model_validate({"from": "orders", "handler": "double", **settings})


def facts(*lags: int, arrived: int = 100, working: Working | None = None, **settings: Any) -> Facts:
    """A pipeline with such lags, looked at for ten seconds, without anything wrong."""
    sources = {
        TopicPartition("orders", number): Source(0, 1_000 + lag - arrived, 1_000 + lag, 950, 1_000)
        for number, lag in enumerate(lags)
    }
    return Facts("doubles", "shop.doubles", pipeline(**settings), 10.0, sources, 1, working=working)


def one(found: Facts, code: str) -> Finding:
    """The only finding, which is of this kind."""
    (finding,) = findings(found)
    assert finding.code == code
    return finding


def looked_at(found: Facts, keys: Counter[bytes], without: int = 0, partition: int = 0) -> Facts:
    """The same with a sample of records with keys, and of some without."""
    sample: Counter[bytes | None] = Counter(keys.elements())
    sample[None] = without
    return replace(found, samples={**found.samples, TopicPartition("orders", partition): sample})


HELD = Standing(TopicPartition("orders", 0), 7, 40.0)
BUSY = Working(handled=10.0, in_flight=50, shares={"handler": 0.9, "poll": 0.1})


def test_a_pipeline_that_keeps_up_has_nothing_wrong() -> None:
    assert findings(facts(0, 0, working=Working(handled=20.0))) == []
    assert findings(facts(0, 0)) == []


def test_rates_and_lag_are_those_of_all_partitions() -> None:
    found = facts(500, 0)

    assert (found.lag, found.arriving, found.finishing) == (500, 20.0, 10.0)


def test_what_retention_has_deleted_is_no_lag() -> None:
    assert Source(900, 1_000, 1_000, 0, 0).lag == 100
    assert Source(900, 1_000, 1_000, None, None).lag == 100


def test_that_nobody_reads_is_a_problem_where_messages_wait() -> None:
    waiting = replace(facts(5), members=0)

    assert "group shop.doubles has no members, and 5 messages wait" in one(waiting, "nobody")[3]
    assert findings(replace(facts(0), members=0)) == []
    assert findings(replace(facts(5), members=None)) == []


@pytest.mark.parametrize(
    ("working", "code"),
    [
        (Working(failed="no such topic"), "failed"),
        (Working(blocked="orders.dlq is gone"), "cannot_deliver"),
        (Working(hindered="no process starts"), "cannot_handle"),
        (Working(breaker_open="ConnectionError"), "breaker_open"),
    ],
)
def test_what_keeps_a_pipeline_from_its_work_is_told_with_its_reason(
    working: Working, code: str
) -> None:
    finding = one(facts(5, working=working), code)

    assert finding.evidence in {
        "no such topic",
        "orders.dlq is gone",
        "no process starts",
        "ConnectionError",
    }


def test_a_handler_that_hangs_is_named_with_its_message() -> None:
    working = Working(overrunning=("orders/0/7 for 40 s",), held=(HELD,))

    finding = one(facts(5, working=working, timeout="10s"), "hanging")

    assert finding.what == "handlers take longer than timeout: 10s"
    assert finding.evidence == "1 message, such as orders/0/7 for 40 s"


def test_a_partition_that_is_held_is_named_with_what_holds_it() -> None:
    finding = one(facts(5, working=Working(held=(HELD,))), "held")

    assert (finding.severity, finding.evidence) == ("warning", "orders/0/7 for 40 s")


@pytest.mark.parametrize(("seconds", "mean"), [(2.0, 0.001), (40.0, 5.0)])
def test_a_partition_that_is_held_and_gets_on_is_not_told_of(seconds: float, mean: float) -> None:
    working = Working(held=(HELD._replace(seconds=seconds),), mean=mean, p99=mean)

    assert findings(facts(5, working=working)) == []


def test_messages_that_were_deleted_before_they_were_handled_are_counted() -> None:
    lost = Source(40, 50, 50, 10, 10)

    found = replace(facts(), sources={TopicPartition("orders", 3): lost})

    assert "30 of orders[3]" in one(found, "lost").evidence


def test_a_partition_with_most_of_the_lag_is_hot() -> None:
    finding = one(facts(900, 20, 30, 50), "hot_partition")

    assert finding.what.endswith("orders[0]")
    assert "90% of 1,000 messages and gets 25% of what comes; 25% would be" in finding.evidence


@pytest.mark.parametrize("lags", [(900, 100), (550, 150, 150, 150)])
def test_a_partition_is_hot_with_three_times_the_lag_of_the_others(lags: tuple[int, ...]) -> None:
    assert one(facts(*lags), "hot_partition")


@pytest.mark.parametrize("lags", [(500, 500), (700, 300), (400, *[120] * 5), (600,), (50, 0, 0)])
def test_no_partition_is_hot_where_the_lag_is_shared_or_small(lags: tuple[int, ...]) -> None:
    assert findings(facts(*lags)) == []


def test_a_key_with_much_of_the_sample_is_hot() -> None:
    keys = Counter({b"N1\xff": 300, **{b"%d" % number: 1 for number in range(700)}})

    finding = one(looked_at(facts(500, 500), keys), "hot_key")

    assert finding.what == r"one key has much of what waits: N1\xff"
    assert finding.evidence.startswith("30% of 1,000 records looked at, of 701 of them")


def test_a_hot_lane_by_a_header_is_named_as_one() -> None:
    keys = Counter({b"acme": 900})
    settings: dict[str, Any] = {"ordering": "key", "lane": "headers.tenant"}

    finding = one(looked_at(facts(500, 500, **settings), keys, 100), "hot_key")

    assert finding.what == "one lane of headers.tenant has much of what waits: acme"


@pytest.mark.parametrize(
    ("number", "sampled", "settings"),
    [(19, 100, {}), (90, 99, {}), (90, 100, {"ordering": "none"})],
)
def test_no_key_is_hot_with_a_small_share_or_sample_or_without_order(
    number: int, sampled: int, settings: dict[str, Any]
) -> None:
    found = looked_at(facts(500, 500, **settings), Counter({b"k": number}), sampled - number)

    assert findings(found) == []


def test_handlers_that_take_most_of_the_loops_time_are_slow() -> None:
    finding = one(facts(500, 500, working=replace(BUSY, mean=0.02, p99=2.5)), "slow_handler")

    assert finding.evidence == (
        "a message takes 20 ms on average, and 99 of 100 at most 2.5 s; "
        "10.0 messages a second are handled, 20.0 come, and 1,000 wait; "
        "90% of the loop's time goes there"
    )
    assert finding.advice == "raise `concurrency`, now 1, up to its 2 partitions"


def test_without_shares_handlers_are_slow_when_all_of_them_are_at_work() -> None:
    working = Working(handled=1.0, in_flight=100, at_work=2)

    assert is_busy(facts(500, 500, working=working, concurrency=2))
    assert not is_busy(facts(500, 500, working=replace(working, at_work=1), concurrency=2))
    assert is_busy(facts(500, 500, working=replace(working, at_work=None), concurrency=2))
    assert not is_busy(facts(500, 500, concurrency=2))


def test_more_handlers_are_advised_where_keys_are_handled_beside_each_other() -> None:
    finding = one(
        facts(500, 500, working=BUSY, ordering="key", concurrency=8),
        "slow_handler",
    )

    assert finding.advice.startswith("raise `concurrency`, now 8, where the handler waits")
    assert "pool: process" in finding.advice


def test_no_further_handler_is_advised_where_most_messages_have_one_key() -> None:
    found = facts(500, 500, working=BUSY, ordering="key", concurrency=8)
    of_one = looked_at(found, Counter({b"N1": 500, b"N2": 500}))
    of_many = looked_at(found, Counter({b"N1": 499, b"N2": 250}), 251)

    def advice(found: Facts) -> str:
        return next(one.advice for one in findings(found) if one.code == "slow_handler")

    assert advice(of_one).startswith("make the handler faster: most of what waits is handled one")
    assert advice(of_many).startswith("raise `concurrency`")


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"concurrency": 1}, "raise `concurrency`, now 1, up to its 2 partitions"),
        ({"concurrency": 1, "ordering": "none"}, "raise `concurrency`, now 1"),
        ({"concurrency": 2, "batch": 50}, "give its topics more partitions, now 2"),
        ({"concurrency": 2}, "say `ordering: key`"),
        ({"concurrency": 4, "pool": "process", "ordering": "key"}, "start the worker on more"),
    ],
)
def test_what_makes_handlers_faster_is_what_holds_them_now(
    settings: dict[str, Any], advice: str
) -> None:
    found = replace(facts(500, 500, working=BUSY, **settings), cores=2)

    assert one(found, "slow_handler").advice.startswith(advice)


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({}, "say `ordering: key`"),
        ({"pool": "process", "concurrency": 4}, "say `ordering: key`"),
        ({"batch": 50}, "make the handler faster"),
    ],
)
def test_with_a_hot_partition_more_handlers_than_it_can_have_are_not_advised(
    settings: dict[str, Any], advice: str
) -> None:
    found = replace(facts(900, 20, 30, 50, working=BUSY, **settings), cores=2)

    hot, slow = findings(found)

    assert (hot.code, slow.code) == ("hot_partition", "slow_handler")
    assert slow.advice.startswith(advice)
    assert "add partitions" not in slow.advice


def test_with_a_hot_partition_and_order_by_key_more_handlers_are_advised_as_ever() -> None:
    found = facts(900, 20, 30, 50, working=BUSY, ordering="key", concurrency=1)

    assert findings(found)[1].advice.startswith("raise `concurrency`, now 1")


@pytest.mark.parametrize(("lag", "text"), [(1, "1 message waits"), (2_000, "2,000 messages wait")])
def test_one_message_is_no_messages(lag: int, text: str) -> None:
    assert one(replace(facts(lag), members=0), "nobody").evidence.endswith(text)


def test_of_records_without_keys_no_order_by_key_is_advised() -> None:
    finding = one(
        replace(looked_at(facts(500, 500, working=BUSY), Counter(), 1_000), cores=2), "slow_handler"
    )

    assert finding.advice.startswith("say `ordering: none`")


HUNG = Standing(TopicPartition("orders", 0), 1_000, 75.0)


def test_a_handler_that_does_not_come_back_is_named_and_nothing_else_is_blamed() -> None:
    working = replace(BUSY, handled=0.0, standing=(HUNG,), mean=0.001, p99=0.01)

    finding = one(facts(401, 0, 0, working=working), "hanging")

    assert finding.evidence == "it has been at orders/0/1000 for 75 s, and 401 messages wait"


@pytest.mark.parametrize(("seconds", "mean"), [(29.0, None), (75.0, 8.0)])
def test_slow_is_not_hanging(seconds: float, mean: float | None) -> None:
    working = replace(BUSY, standing=(HUNG._replace(seconds=seconds),), mean=mean, p99=mean)

    assert "hanging" not in {one.code for one in findings(facts(401, 0, working=working))}


def test_with_a_timeout_a_handler_inside_it_does_not_hang_and_its_partition_is_not_hot() -> None:
    working = Working(standing=(HUNG._replace(seconds=240.0),), mean=0.001, p99=0.01)

    assert (
        findings(
            facts(
                401, 0, 0, working=working, timeout="10m", drain_timeout="11m", revoke_timeout="11m"
            )
        )
        == []
    )


def test_beside_a_hanging_message_other_partitions_are_judged_as_ever() -> None:
    working = replace(BUSY, standing=(HUNG,))

    found = findings(facts(401, 900, 0, working=working))

    assert [one.code for one in found] == ["hanging", "hot_partition", "slow_handler"]
    assert "100% of 900 messages" in found[1].evidence


def test_what_waits_behind_a_hanging_message_makes_no_key_hot() -> None:
    working = replace(BUSY, standing=(HUNG,))
    behind = looked_at(facts(900, 0, working=working), Counter({b"N1": 900}))
    spread = Counter({b"%d" % number: 1 for number in range(200)})
    others = looked_at(
        looked_at(facts(900, 200, 200, working=working), Counter({b"N1": 900})), spread, partition=1
    )
    hot = looked_at(others, Counter({b"N2": 200}), partition=2)

    assert one(behind, "hanging")
    assert "hot_key" not in {one.code for one in findings(others)}
    assert [one.what[-2:] for one in findings(hot) if one.code == "hot_key"] == ["N2"]


def test_of_a_stopped_pipeline_only_why_it_has_stopped_is_a_cause() -> None:
    stopped = replace(BUSY, failed="no such topic")

    assert one(facts(900, 0, working=stopped), "failed")


def test_a_slow_handler_without_lag_is_none_of_our_business() -> None:
    assert findings(facts(20, 20, working=BUSY)) == []


def test_members_without_a_partition_have_nothing_to_do() -> None:
    finding = one(replace(facts(500, 500), members=5), "too_few_partitions")

    assert finding.severity == "problem"
    assert finding.evidence == "5 members share 2 partitions: 3 have nothing to do"
    assert findings(replace(facts(0, 0), members=5))[0].severity == "warning"
    assert findings(replace(facts(0, 0), members=2)) == []


def test_more_handlers_than_partitions_are_too_few_lanes_in_the_order_of_partitions() -> None:
    finding = one(facts(0, 0, concurrency=8), "too_few_lanes")

    assert finding.severity == "warning"
    assert findings(facts(0, 0, concurrency=8, ordering="key")) == []
    assert findings(facts(0, 0, concurrency=2)) == []


@pytest.mark.parametrize(("handled", "is_held"), [(18.0, True), (10.0, False)])
def test_a_rate_that_is_used_up_holds_a_pipeline(handled: float, is_held: object) -> None:
    working = Working(handled=handled, processes=2)

    found = findings(facts(500, 500, working=working, rate_limit="10/s"))

    assert bool(found) is is_held


@pytest.mark.parametrize(("lately", "severity"), [(2, "problem"), (0, "warning")])
def test_messages_that_end_their_process_are_told_with_the_last_one(
    lately: int, severity: str
) -> None:
    last = "orders/0/7, the process ended by signal 9 (SIGKILL)"

    finding = one(facts(0, working=Working(crashes=3, lately=lately, last_crash=last)), "crashes")

    assert finding.severity == severity
    assert finding.evidence == (
        f"3 messages since the worker's start, {lately} of them just now; the last: {last}"
    )


def test_attempts_that_fail_are_told_with_the_last_failure() -> None:
    working = Working(handled=10.0, retried=5.0, last_failure="handler_error TimeoutError")

    finding = one(facts(5, working=working), "failing")

    assert finding.evidence.endswith("such as handler_error TimeoutError")
    assert findings(facts(5, working=replace(working, retried=2.0))) == []


@pytest.mark.parametrize("stage", ["produce", "commit", "poll", "decode"])
def test_a_stage_that_takes_most_of_the_time_is_named(stage: str) -> None:
    working = Working(handled=10.0, shares={stage: 0.6, "handler": 0.4})

    assert "60% of its loop's time" in one(facts(500, 500, working=working), f"slow_{stage}")[3]
    assert findings(facts(5, working=working)) == []


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"in_flight": {"messages": 3}, "ordering": "none", "concurrency": 4}, "in_flight"),
        ({"timeout": "30s"}, "a message may be at work for longer"),
        ({"retry": {"attempts": 9}}, "retries in place may hold up"),
    ],
)
def test_settings_that_work_against_each_other_are_misfits(
    settings: dict[str, Any], what: str
) -> None:
    finding = one(facts(0, 0, **settings), "misfit")

    assert finding.severity == "warning"
    assert finding.what.startswith(what)


@pytest.mark.parametrize(
    "settings", [{"timeout": "20s"}, {"retry": {"attempts": 8}}, {"retry": {"attempts": 1}}]
)
def test_settings_that_fit_are_no_misfits(settings: dict[str, Any]) -> None:
    assert findings(facts(0, 0, **settings)) == []


def dead_letters(policy: str, limit: int) -> Facts:
    """A pipeline whose source takes records of 1000 bytes."""
    topics = {
        "orders": TopicInfo(1, 1_000),
        "dlq": TopicInfo(1, limit, None, {"cleanup.policy": policy}),
    }
    return replace(facts(0, dead_letter="dlq"), topics=topics)


def test_a_compacted_dead_letter_topic_is_warned_of() -> None:
    finding = one(dead_letters("compact,delete", 1_000), "compacted_dead_letters")

    assert (finding.severity, finding.evidence) == ("warning", "cleanup.policy=compact,delete")


def test_a_dead_letter_topic_that_takes_less_than_a_source_is_warned_of() -> None:
    finding = one(dead_letters("delete", 999), "small_dead_letters")

    assert finding.evidence == "max.message.bytes=999, and 1000 of a source"


def test_a_dead_letter_topic_that_keeps_all_has_nothing_wrong() -> None:
    assert findings(dead_letters("delete", 1_000)) == []
    assert findings(facts(0, dead_letter="dlq")) == []


def test_problems_come_before_warnings() -> None:
    found = findings(facts(900, 0, working=Working(held=(HELD,))))

    assert [one.code for one in found] == ["hot_partition", "held"]


def test_a_quantile_is_the_end_of_its_bucket() -> None:
    durations = Durations({0.01: 90, 0.1: 98, 1.0: 99, inf: 100}, 12.0)

    assert durations.mean == 0.12
    assert durations.quantile(0.5) == 0.01
    assert durations.quantile(0.99) == 1.0
    assert durations.quantile(1.0) == 1.0
    assert Durations({}, 0.0).quantile(0.99) is None
    assert Durations({}, 0.0).mean is None


def test_durations_since_are_those_that_came_later() -> None:
    before, after = Durations({0.01: 90, inf: 100}, 10.0), Durations({0.01: 90, inf: 110}, 60.0)

    assert after.since(before) == Durations({0.01: 0, inf: 10}, 50.0)
    assert before.since(after) == before
