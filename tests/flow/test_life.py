from __future__ import annotations

import pytest

from worker.flow import envelope
from worker.flow.crashes import Note
from worker.flow.ledger import Entry
from worker.flow.life import (
    Life,
    Place,
    Route,
    Standing,
    is_finished,
    lives_of,
    place_from,
    standing_of,
    steps_of,
)
from worker.types import Commit, Headers, Message, TopicPartition

ROUTE = Route(
    "doubles",
    "shop.doubles",
    ["orders"],
    ["shop.doubles.retry.0", "shop.doubles.retry.1"],
    "shop.doubles.redrive",
    ["orders.dlq", "orders.dlq.parked"],
    {"doubles"},
)
FIRST = Place("orders", 3, 42)
TRACED = [("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")]
SPANNED = [("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00")]
"""The same trace, in another span."""


def record(topic: str, offset: int, at: int, headers: Headers = (), key: bytes = b"k") -> Message:
    return Message.of(
        b"{}",
        topic=topic,
        partition=3 if topic == "orders" else 0,
        offset=offset,
        key=key,
        headers=headers,
        timestamp=at,
    )


def source(at: int = 1_000, headers: Headers = ()) -> Message:
    return record("orders", 42, at, headers)


def waiting(tier: int, at: int, attempts: int, topic: str = "orders", offset: int = 42) -> Message:
    about = {
        "due": str(at + 60_000),
        "topic": topic,
        "partition": "3",
        "offset": str(offset),
        "timestamp": "1000",
        "attempts": str(attempts),
        "reason": "handler_error",
        "error": "TimeoutError",
    }
    headers = [(f"retry.{name}", value.encode()) for name, value in about.items()]
    return record(f"shop.doubles.retry.{tier}", 7, at, headers)


def told(group: str = "shop.doubles", offset: int = 42) -> Headers:
    about = {
        "topic": "orders",
        "partition": "3",
        "offset": str(offset),
        "group": group,
        "reason": "handler_error",
        "error": "TimeoutError",
        "attempts": "3",
    }
    return [(f"dlq.{name}", value.encode()) for name, value in about.items()]


def dead(at: int, offset: int = 5, topic: str = "orders.dlq") -> Message:
    return record(topic, offset, at, told())


def the_life(*records: Message) -> Life:
    (life,) = [one for one in lives_of(records, [ROUTE]) if one.first == FIRST]
    return life


def standing(
    *records: Message, committed: int = 0, metadata: str = "", ledger: Entry | None = None
) -> Standing:
    life = the_life(*records)
    commits = {life.last.source: Commit(committed, metadata)}
    ledgers = {"orders.dlq": {} if ledger is None else {(0, 5): ledger}}
    return standing_of(life, ledgers, commits, now=10.0)


@pytest.mark.parametrize("text", ["orders", "orders/3", "orders/3/x", "a b/3/4", "orders/3/-1"])
def test_a_text_that_names_no_place_is_none(text: str) -> None:
    assert place_from(text) is None
    assert place_from("orders/3/42") == FIRST


def test_all_records_of_a_message_are_one_life_in_the_order_of_their_times() -> None:
    life = the_life(dead(5_000), waiting(1, 4_000, 3), source(), waiting(0, 2_000, 2))

    steps = steps_of(life, {})

    assert [(step.kind, step.attempts) for step in steps] == [
        ("written", None),
        ("moved", 2),
        ("moved", 3),
        ("dead_lettered", 3),
    ]
    assert (steps[1].error, steps[1].due) == ("TimeoutError", 62_000)
    assert life.last == Place("orders.dlq", 0, 5)


def test_it_is_told_how_long_the_last_of_the_attempts_has_taken() -> None:
    moved, letter = waiting(0, 2_000, 2), dead(5_000)
    took = [
        record(moved.topic, 7, 2_000, [*moved.headers, ("retry.took", b"1500")]),
        record(letter.topic, 5, 5_000, [*letter.headers, ("dlq.took", b"30000")]),
    ]

    steps = steps_of(the_life(source(), *took), {})

    assert [one.took for one in steps] == [None, 1_500, 30_000]


def test_the_first_failure_is_told_of_once_however_often_it_is_written() -> None:
    failed = [("retry.first_failure", b"1500")]
    moved = [
        record(one.topic, one.offset, one.timestamp, [*one.headers, *failed])
        for one in (waiting(0, 2_000, 2), waiting(1, 4_000, 3))
    ]

    steps = steps_of(the_life(source(), *moved), {})

    assert [(one.kind, one.at) for one in steps][:3] == [
        ("written", 1_000),
        ("failed", 1_500),
        ("moved", 2_000),
    ]
    assert len(steps) == 4


def test_a_record_that_is_found_twice_is_told_of_once() -> None:
    assert len(steps_of(the_life(source(), dead(5_000), dead(5_000)), {})) == 2


def test_a_message_that_only_follows_its_lane_has_not_failed() -> None:
    assert [one.kind for one in steps_of(the_life(waiting(0, 2_000, 0)), {})] == ["followed"]


def test_dead_letters_of_another_group_are_not_of_its_life() -> None:
    others = record("orders.dlq", 5, 5_000, told("shop.large"))

    assert the_life(source(), others).trail == []


def test_other_messages_have_lives_of_their_own() -> None:
    lives = lives_of([source(), record("orders", 43, 1_001), dead(5_000)], [ROUTE])

    assert [(life.first.offset, len(life.trail)) for life in lives] == [(42, 1), (43, 0)]


def test_the_oldest_life_comes_first_wherever_its_message_lies() -> None:
    other = Message.of(b"{}", topic="orders", partition=0, offset=99, timestamp=5_000)

    assert [life.first.offset for life in lives_of([other, source()], [ROUTE])] == [42, 99]


def test_a_redriven_message_that_waits_again_is_still_the_one_that_was_read_first() -> None:
    redriven = record("shop.doubles.redrive", 0, 6_000, told())
    again = waiting(0, 7_000, 1, topic="shop.doubles.redrive", offset=0)
    kept = Message.of(
        b"{}",
        topic=again.topic,
        offset=again.offset,
        headers=[*told(), *again.headers],
        timestamp=again.timestamp,
    )

    life = the_life(source(), dead(5_000), redriven, kept)

    assert [one.kind for one in steps_of(life, {})] == [
        "written",
        "dead_lettered",
        "redriven",
        "moved",
    ]
    assert life.last.topic == "shop.doubles.retry.0"


def test_a_message_that_was_sent_back_to_its_source_goes_on_there() -> None:
    again = record("orders", 50, 6_000, told())
    ledgers = {"orders.dlq": {(0, 5): Entry("redriven", "orders", 5_900)}}

    life = the_life(source(), dead(5_000), again)

    assert life.last == Place("orders", 3, 50)
    assert [one.kind for one in steps_of(life, ledgers)][-1] == "sent_again"


@pytest.mark.parametrize("fate", ["redriven", "parked", "dropped"])
def test_what_became_of_a_dead_letter_is_told_by_its_ledger(fate: str) -> None:
    to = None if fate == "dropped" else "elsewhere"
    entry = Entry(fate, to, 6_000)

    steps = steps_of(the_life(source(), dead(5_000)), {"orders.dlq": {(0, 5): entry}})

    assert (steps[-1].kind, steps[-1].at, steps[-1].topic) == (fate, 6_000, to)
    assert standing(source(), dead(5_000), ledger=entry).state == fate


def test_a_parked_dead_letter_whose_record_is_found_is_told_of_once() -> None:
    parked = dead(6_001, offset=0, topic="orders.dlq.parked")
    entry = Entry("parked", "orders.dlq.parked", 6_000)

    steps = steps_of(the_life(dead(5_000), parked), {"orders.dlq": {(0, 5): entry}})

    assert [one.kind for one in steps] == ["dead_lettered", "parked"]
    assert standing(dead(5_000), parked).state == "parked"


def test_results_are_known_by_the_trace() -> None:
    result = record("doubles", 9, 1_100, SPANNED)
    next_one = record("doubles", 10, 1_200)

    life = the_life(source(headers=TRACED), result, next_one)

    assert life.results == [(result, "trace")]


LINKED = [
    ("traceparent", b"00-11112222333344445555666677778888-1111222233334444-01"),
    ("tracestate", b"vendor=1,stream-worker=0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"),
]
"""A trace of its own, linked to the span of `TRACED`."""


def test_results_are_known_by_the_span_that_their_trace_is_linked_to() -> None:
    mine = record("doubles", 5, 2_000, LINKED)
    others = record("doubles", 6, 2_000, LINKED, key=b"other")

    life = the_life(source(headers=TRACED), mine, others)

    assert life.results == [(mine, "trace"), (others, "context")]
    assert life.owns(mine)
    assert the_life(source(headers=SPANNED), others).results == []


def test_with_another_key_a_result_may_be_of_another_message_that_was_sent_in_its_span() -> None:
    others = record("doubles", 6, 2_000, TRACED, key=b"other")

    assert the_life(source(headers=TRACED), others).results == [(others, "context")]


def test_of_a_trace_that_messages_share_the_records_with_its_key_are_results() -> None:
    mine = record("doubles", 9, 1_100, SPANNED)
    others = record("doubles", 8, 1_100, SPANNED, b"x")

    assert the_life(source(headers=TRACED), others, mine).results == [(mine, "trace")]
    assert the_life(source(headers=TRACED), others).results == []


def test_what_may_result_from_several_messages_is_certain_of_none() -> None:
    one, other = source(headers=TRACED), record("orders", 43, 1_001, TRACED)
    result = record("doubles", 1, 1_002, TRACED)
    elsewhere = Route("triples", "shop.triples", ["orders"], outputs={"doubles"})

    several = lives_of([one, other, result], [ROUTE])
    for_two = lives_of([one, result], [ROUTE, elsewhere])

    assert [life.results for life in several] == [[(result, "context")]] * 2
    assert [life.results for life in for_two] == [[(result, "context")]] * 2


def test_a_dead_letter_has_no_result_that_is_surely_its_own() -> None:
    result = record("doubles", 1, 1_002, TRACED)
    letter = record("orders.dlq", 5, 5_000, [*told(), *TRACED])

    life = the_life(source(headers=TRACED), letter, result)

    assert life.results == [(result, "context")]


def test_a_message_that_was_sent_again_shares_its_result_with_no_other() -> None:
    again = record("orders", 60, 5_000, [*told(), *TRACED])
    result = record("doubles", 1, 6_000, TRACED)

    lives = lives_of([source(headers=TRACED), again, result], [ROUTE])

    assert [life.results for life in lives] == [[(result, "trace")]] * 2


def test_without_a_trace_the_next_records_with_its_key_may_be_results() -> None:
    before = record("doubles", 1, 999)
    after = [record("doubles", 2 + one, 1_001 + one) for one in range(5)]

    life = the_life(source(), before, *after)

    assert life.results == [(one, "key") for one in after[:3]]


def test_records_of_topics_that_it_has_no_results_in_are_none() -> None:
    assert the_life(source(), record("large", 2, 1_001)).results == []


@pytest.mark.parametrize(
    "message",
    [
        waiting(0, 2_000, 1),
        dead(5_000),
        record("orders", 50, 6_000, told()),
        record("doubles", 9, 1_100),
        record("doubles", 9, 1_100, TRACED, b"x"),
    ],
)
def test_what_may_belong_to_a_message_is_kept(message: Message) -> None:
    assert the_life(source(headers=TRACED)).owns(message)


@pytest.mark.parametrize(
    "message",
    [
        waiting(0, 2_000, 1, offset=43),
        record("orders.dlq", 6, 5_000, told(offset=43)),
        record("orders", 50, 6_000),
        record("doubles", 9, 1_100, key=b"x"),
        record("doubles", 9, 1_100, SPANNED, b"x"),
        record("large", 9, 1_100),
    ],
)
def test_what_belongs_to_others_is_not_kept(message: Message) -> None:
    assert not the_life(source(headers=TRACED)).owns(message)


def test_a_message_is_finished_below_what_its_group_has_committed() -> None:
    assert standing(source(), committed=43).state == "finished"
    assert standing(source(), committed=40) == Standing("unfinished", FIRST, in_front=2)


def test_a_message_is_finished_that_the_map_names() -> None:
    metadata = envelope.encode(40, [(41, 43)])

    assert is_finished(42, Commit(40, metadata))
    assert not is_finished(40, Commit(40, metadata))
    assert standing(source(), committed=40, metadata=metadata).state == "finished"


def test_a_message_that_is_tried_alone_is_a_suspect() -> None:
    metadata = envelope.encode(42, [], Note("owner", 2, 42, 1))

    assert standing(source(), committed=42, metadata=metadata).suspect


def test_a_group_that_has_committed_nothing_has_not_begun() -> None:
    life = the_life(source())

    assert standing_of(life, {}, {}, 10.0).state == "not_begun"
    assert standing_of(life, {}, {TopicPartition("orders", 0): Commit(9)}, 1.0).state == "not_begun"


def test_a_message_in_a_retry_topic_waits_until_it_is_due() -> None:
    moved = waiting(0, 2_000, 1)

    found = standing(source(), moved)

    assert (found.state, found.place.offset, found.due) == ("waits", 7, 62_000)
    life = the_life(source(), moved)
    commits = {life.last.source: Commit(7)}
    assert standing_of(life, {}, commits, now=62.0).state == "unfinished"
    assert standing(source(), moved, committed=8).state == "finished"


def test_a_dead_letter_without_an_entry_waits() -> None:
    assert standing(source(), dead(5_000)) == Standing("dead", Place("orders.dlq", 0, 5))
