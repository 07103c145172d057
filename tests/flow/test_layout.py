"""What makes a topic what a spec wants."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from worker.flow.layout import (
    Configure,
    Create,
    Grow,
    Wanted,
    as_foreseen,
    forsaken,
    immovable,
    spread,
    steps_to,
)
from worker.settings import TopicSettings
from worker.types import TopicInfo

HERE = "spec.yaml:7"
WEEK = {"retention.ms": 604_800_000, "cleanup.policy": "delete"}


def declared(**settings: object) -> Wanted:
    said = TopicSettings.model_validate(settings)
    return Wanted("orders", HERE, said, said)


def implied(partitions: int | None = None, **config: str | int) -> Wanted:
    return Wanted("orders", HERE, TopicSettings(partitions=partitions, config=config))


def there(
    partitions: int = 4, replication: int = 1, config: Mapping[str, str] | None = None
) -> TopicInfo:
    config = {"retention.ms": "604800000", "cleanup.policy": "delete", **(config or {})}
    return TopicInfo(partitions, 1_048_588, None, config, replication)


def test_a_topic_that_is_missing_is_made_as_it_is_wanted() -> None:
    wanted = declared(partitions=4, config=WEEK)

    assert list(steps_to(wanted, None)) == [Create("orders", HERE, wanted.settings)]
    assert list(immovable(wanted, None)) == []


def test_nothing_is_done_where_nothing_differs() -> None:
    wanted = declared(partitions=4, replication=1, config=WEEK)

    assert list(steps_to(wanted, there())) == []
    assert list(immovable(wanted, there())) == []


def test_what_is_not_said_does_not_differ() -> None:
    assert list(steps_to(declared(), there(17, 3))) == []
    assert list(immovable(declared(), there(17, 3))) == []


def test_partitions_are_added_with_a_word_about_keys() -> None:
    steps = list(steps_to(declared(partitions=8), there(4)))

    (note,) = spread(steps)
    assert steps == [Grow("orders", HERE, 4, 8)]
    assert "keys go to others" in note.text
    assert note.origin == HERE


def test_keys_of_many_topics_are_told_of_once() -> None:
    (note,) = spread([Grow(f"topic-{number}", HERE, 4, 8) for number in range(40)])

    assert "partitions are added to 'topic-0', 'topic-1', 'topic-2' and 37 more: " in note.text


def test_partitions_are_never_taken_away() -> None:
    assert list(steps_to(declared(partitions=2), there(4))) == []
    (note,) = immovable(declared(partitions=2), there(4))
    assert "has 4 partitions, and 2 are declared" in note.text


def test_a_topic_of_ours_may_have_more_partitions_than_it_needs() -> None:
    assert list(immovable(implied(2), there(4))) == []
    assert list(steps_to(implied(6), there(4))) == [Grow("orders", HERE, 4, 6)]


def test_replicas_are_left_as_they_are() -> None:
    assert list(steps_to(declared(replication=3), there())) == []
    (note,) = immovable(declared(replication=3), there())
    assert "has 1 replicas, and 3 are declared" in note.text


def test_only_settings_that_differ_are_changed() -> None:
    wanted = declared(config={"cleanup.policy": "delete", "retention.ms": 1_000})

    assert list(steps_to(wanted, there())) == [
        Configure("orders", HERE, {"retention.ms": ("604800000", "1000")})
    ]


@pytest.mark.parametrize(
    ("said", "is_there"),
    [
        ("0.50", "0.5"),
        ("compact,delete", "delete,compact"),
        ("compact, delete", "compact,delete"),
        (-1, "-1"),
    ],
)
def test_a_setting_may_be_written_in_other_ways(said: str | int, is_there: str) -> None:
    wanted = declared(config={"some.setting": said})

    assert list(steps_to(wanted, there(config={"some.setting": is_there}))) == []
    assert list(steps_to(wanted, there(config={"some.setting": "other"}))) != []


@pytest.mark.parametrize(
    ("kept", "steps"), [("604800000", 0), ("604800001", 0), ("-1", 0), ("1000", 1)]
)
def test_a_topic_of_ours_may_keep_records_for_longer_but_not_for_less(
    kept: str, steps: int
) -> None:
    wanted = implied(**{"retention.ms": 604_800_000})

    assert len(list(steps_to(wanted, there(config={"retention.ms": kept})))) == steps


def test_what_the_spec_says_of_a_topic_of_ours_counts_to_the_letter() -> None:
    said = TopicSettings(config={"retention.ms": 1_000})
    wanted = Wanted("orders", HERE, said, said)

    assert list(steps_to(wanted, there())) == [
        Configure("orders", HERE, {"retention.ms": ("604800000", "1000")})
    ]


def test_a_topic_of_ours_without_a_bound_is_not_content_with_one() -> None:
    wanted = implied(**{"retention.bytes": -1})

    assert list(steps_to(wanted, there(config={"retention.bytes": "1000"}))) == [
        Configure("orders", HERE, {"retention.bytes": ("1000", "-1")})
    ]


def test_settings_that_cannot_be_read_are_told_and_not_changed() -> None:
    hidden = TopicInfo(4, 1_048_588)

    assert list(steps_to(declared(config=WEEK), hidden)) == []
    (note,) = immovable(declared(config=WEEK), hidden)
    assert "grant DescribeConfigs" in note.text


def test_yes_and_no_are_written_as_kafka_does() -> None:
    wanted = declared(config={"preallocate": True})

    assert list(steps_to(wanted, there(config={"preallocate": "true"}))) == []
    assert list(steps_to(wanted, there(config={"preallocate": "false"}))) != []


def test_a_topic_is_foreseen_as_large_as_it_will_be_if_that_is_known() -> None:
    grown, made, unknown = (
        as_foreseen(declared(partitions=8), there(4)),
        as_foreseen(declared(partitions=8), None),
        as_foreseen(declared(), None),
    )

    assert grown is not None
    assert made is not None
    assert (grown.partitions, made.partitions, unknown) == (8, 8, None)


def test_a_setting_that_is_no_number_is_left_to_the_broker_to_refuse() -> None:
    made = as_foreseen(declared(partitions=1, config={"max.message.bytes": "much"}), None)

    assert made is not None
    assert (made.max_message_bytes, made.config) == (0, {})


def test_a_group_that_has_not_begun_and_one_that_nobody_has_tell_of_a_new_name() -> None:
    committed = {"shop.old": ["orders"], "shop.other": ["returns"], "shop.mine": ["orders"]}
    groups = ["shop.new", "shop.mine"]

    assert forsaken("shop.new", ["orders"], committed, groups) == ["shop.old"]
    assert forsaken("shop.mine", ["orders"], committed, groups) == []
    assert forsaken("shop.new", ["others"], committed, groups) == []
