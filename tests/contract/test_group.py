"""What every consumer does as a member of its group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.contract.conftest import rigs
from tests.contract.member import Member, Members, until
from tests.contract.rig import Layout, Rig, unique
from tests.contract.test_consumer import filled, offsets_of, topic_of
from worker.errors import ClientError, CommitFailed
from worker.ports import METADATA_TOO_LARGE
from worker.types import Commit, TopicPartition


def shared(sources: Sequence[TopicPartition], *members: Member) -> bool:
    """Whether each partition has one owner and each member about as many."""
    owned = sorted(source for member in members for source in member.owned)
    counts = [len(member.owned) for member in members]
    return owned == sorted(sources) and max(counts) - min(counts) <= 1


def test_a_group_without_commits_is_told_so(rig: Rig, members: Members) -> None:
    sources = filled(rig, 1, partitions=2)

    member = members.settled(unique("group"), sources[0].topic)

    assert member.owned == dict.fromkeys(sources)


def test_members_start_at_the_place_they_choose(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 3)
    member = members.settled(unique("group"), source.topic, start="newest")

    rig.append(source, b"new")
    until(lambda: member.received, member)

    assert member.values == [b"new"]


def test_a_commit_that_was_waited_for_is_where_the_next_member_starts(
    rig: Rig, members: Members
) -> None:
    one, other = filled(rig, 10, partitions=2)
    group = unique("group")
    first = members.settled(group, one.topic)

    first.consumer.commit({one: Commit(4)}, wait=True)
    first.consumer.close()
    second = members.join(group, one.topic)
    until(lambda: len(second.received) >= 16, second)

    assert second.owned == {one: 4, other: None}
    assert offsets_of(second, one) == list(range(4, 10))


def test_what_the_group_has_committed_can_be_asked_for_all_partitions_whoever_has_them(
    rig: Rig, members: Members
) -> None:
    sources = filled(rig, 5, partitions=3)
    group, other = unique("group"), topic_of(rig)
    topics = (sources[0].topic, other)
    first, second = members.join(group, *topics), members.join(group, *topics)
    until(lambda: shared([*sources, TopicPartition(other, 0)], first, second), first, second)
    one = next(iter(first.owned))

    first.consumer.commit({one: Commit(3)}, wait=True)

    expected = dict.fromkeys([*sources, TopicPartition(other, 0)]) | {one: Commit(3)}
    assert dict(second.consumer.group_offsets()) == expected


def test_what_the_group_has_committed_can_be_asked_of_chosen_partitions_whoever_has_them(
    rig: Rig, members: Members
) -> None:
    sources, (elsewhere,) = filled(rig, 5, partitions=2), filled(rig, 5)
    group = unique("group")
    owner = members.settled(group, sources[0].topic)
    stranger = members.settled(group, elsewhere.topic)

    owner.consumer.commit({sources[0]: Commit(3, "noted")}, wait=True)

    missing = TopicPartition(unique("topic"), 0)
    asked = [*sources, missing]
    expected = {sources[0]: Commit(3, "noted"), sources[1]: None, missing: None}
    assert dict(stranger.consumer.committed(asked)) == expected
    assert dict(stranger.consumer.committed([])) == {}


def test_without_an_answer_nobody_is_told_that_nothing_was_committed(rig: Rig) -> None:
    consumer = rig.stranded_consumer()

    with pytest.raises(ClientError):
        consumer.committed([TopicPartition("topic", 0)])


def test_a_commit_of_a_partition_that_was_just_assigned_can_be_asked_for_at_once(
    rig: Rig, members: Members
) -> None:
    (source,) = filled(rig, 5)
    group = unique("group")
    first = members.settled(group, source.topic)
    first.consumer.commit({source: Commit(3)}, wait=True)
    first.consumer.close()
    second = members.join(group, source.topic)
    found: list[Mapping[TopicPartition, Commit | None]] = []
    second.when_assigned = lambda: found.append(second.consumer.committed([source]))

    until(lambda: second.assignments, second)

    assert list(map(dict, found)) == [{source: Commit(3)}]


def test_a_commit_that_was_not_waited_for_is_reported_in_poll(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 3)
    group = unique("group")
    first = members.settled(group, source.topic)

    first.consumer.commit({source: Commit(2, "noted")}, wait=False)
    before = list(first.commits)
    until(lambda: first.commits, first)
    first.consumer.close()
    second = members.settled(group, source.topic)

    assert before == []
    assert first.commits == [({source: Commit(2, "noted")}, None)]
    assert second.owned == {source: 2}


def test_what_is_noted_beside_an_offset_reaches_the_next_owner(rig: Rig, members: Members) -> None:
    one, other = filled(rig, 3, partitions=2)
    group = unique("group")
    first = members.settled(group, one.topic)

    first.consumer.commit({one: Commit(1, "noted"), other: Commit(2)}, wait=True)
    first.consumer.close()

    assert members.settled(group, one.topic).metadata == {one: "noted", other: ""}


def test_a_commit_whose_note_is_too_long_is_refused_by_name(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 3)
    first = members.settled(unique("group"), source.topic)

    first.consumer.commit({source: Commit(1, "x" * 4_095)}, wait=True)
    with pytest.raises(CommitFailed, match=METADATA_TOO_LARGE):
        first.consumer.commit({source: Commit(2, "x" * 4_096)}, wait=True)


def test_a_lower_offset_takes_the_group_back(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 9)
    group = unique("group")
    first = members.settled(group, source.topic)

    first.consumer.commit({source: Commit(8)}, wait=True)
    first.consumer.commit({source: Commit(3)}, wait=True)
    first.consumer.close()

    assert members.settled(group, source.topic).owned == {source: 3}


def test_groups_do_not_see_each_others_commits(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 3)
    members.settled(unique("group"), source.topic).consumer.commit({source: Commit(2)}, wait=True)

    assert members.settled(unique("group"), source.topic).owned == {source: None}


def test_a_second_member_gets_its_share_after_it_was_taken_from_the_first(
    rig: Rig, members: Members
) -> None:
    sources = filled(rig, 0, partitions=4)
    group = unique("group")
    first = members.settled(group, sources[0].topic)

    second = members.join(group, sources[0].topic)
    until(lambda: shared(sources, first, second), first, second)

    taken = tuple(sorted(second.owned))
    revoked, assigned = (first.name, ("revoked", taken)), (second.name, ("assigned", taken))
    assert revoked in members.journal
    assert members.journal.index(revoked) < members.journal.index(assigned)
    assert "lost" not in [what for what, _ in first.events + second.events]


def test_the_first_member_keeps_reading_what_it_keeps(rig: Rig, members: Members) -> None:
    sources = filled(rig, 30, partitions=4)
    group = unique("group")
    first = members.settled(group, sources[0].topic)

    second = members.join(group, sources[0].topic)
    until(lambda: shared(sources, first, second), first, second, limit=1)
    until(
        lambda: all(29 in offsets_of(owner, s) for owner in (first, second) for s in owner.owned),
        first,
        second,
    )

    for source in first.owned:
        assert offsets_of(first, source) == list(range(30))
    for source in second.owned:
        assert offsets_of(second, source) == list(range(30))


def test_a_commit_while_partitions_are_revoked_is_where_their_next_owner_starts(
    rig: Rig, members: Members
) -> None:
    sources = filled(rig, 10, partitions=2)
    group = unique("group")
    first = members.settled(group, sources[0].topic)
    first.when_revoked = lambda leaving: first.consumer.commit(
        dict.fromkeys(leaving, Commit(7)), wait=True
    )

    second = members.join(group, sources[0].topic)
    until(lambda: shared(sources, first, second), first, second, limit=1)

    assert list(second.owned.values()) == [7]


def test_a_member_too_many_is_told_that_it_has_nothing(rig: Rig, members: Members) -> None:
    sources = filled(rig, 0)
    group = unique("group")
    first = members.settled(group, sources[0].topic)

    second = members.join(group, sources[0].topic)
    until(lambda: second.assignments, first, second)

    assert [len(first.owned), len(second.owned)] == [1, 0]


def test_a_topic_that_does_not_exist_is_named_until_it_does(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 0)
    topic = unique("topic")
    member = members.join(unique("group"), source.topic, topic)

    until(lambda: list(member.consumer.missing) == [topic], member)
    rig.admin().create({topic: Layout(1)})
    until(lambda: TopicPartition(topic, 0) in member.owned, member)

    until(lambda: not member.consumer.missing, member)


def test_what_a_leaving_member_had_goes_to_those_who_stay(rig: Rig, members: Members) -> None:
    sources = filled(rig, 0, partitions=4)
    group = unique("group")
    first, second = members.join(group, sources[0].topic), members.join(group, sources[0].topic)
    until(lambda: shared(sources, first, second), first, second)

    first.consumer.close()
    until(lambda: shared(sources, second), second)

    assert first.owned == {}


def test_closing_tells_revoked_once_and_lets_commit(rig: Rig, members: Members) -> None:
    sources = filled(rig, 3, partitions=2)
    group = unique("group")
    member = members.settled(group, sources[0].topic)
    member.when_revoked = lambda leaving: member.consumer.commit(
        dict.fromkeys(leaving, Commit(1)), wait=True
    )

    member.consumer.close()
    member.consumer.close()

    assert [what for what, _ in member.events] == ["assigned", "revoked"]
    assert members.settled(group, sources[0].topic).owned == dict.fromkeys(sources, 1)


def test_a_consumer_that_never_subscribed_can_be_closed(rig: Rig) -> None:
    rig.consumer(unique("group")).close()


def test_a_silent_member_loses_its_partitions_and_may_not_commit_them(
    rig: Rig, members: Members
) -> None:
    (source,) = filled(rig, 3)
    group = unique("group")
    silent = members.settled(group, source.topic, mortal=True)
    other = members.join(group, source.topic)

    rig.fall_silent(silent.consumer)
    until(lambda: other.owned, other)
    with pytest.raises(CommitFailed):
        silent.consumer.commit({source: Commit(2)}, wait=True)
    until(lambda: ("lost", (source,)) in silent.events, silent, other)

    assert "revoked" not in [what for what, _ in silent.events]
    assert other.owned == {source: None}


def test_a_member_that_lost_its_partitions_joins_again(rig: Rig, members: Members) -> None:
    sources = filled(rig, 3, partitions=2)
    group = unique("group")
    silent = members.settled(group, sources[0].topic, mortal=True)
    other = members.join(group, sources[0].topic)

    rig.fall_silent(silent.consumer)
    until(lambda: shared(sources, other), other)
    until(lambda: silent.assignments > 1 and shared(sources, silent, other), silent, other)
    until(lambda: len(silent.received) >= 3, silent, other)


def test_leaving_while_the_assignment_comes_is_quiet(rig: Rig) -> None:
    (source,) = filled(rig, 1)
    members = Members(rig)
    for number in range(8):
        member = members.join(unique("group"), source.topic)
        for _ in range(number):
            member.consumer.poll(1, 0.01)

        member.consumer.close()

    assert all(set(member.owned) <= {source} for member in members.all)


@pytest.fixture
def shares(rig: Rig, members: Members) -> list[list[list[int]]]:
    """What two members have of two topics with three partitions each: numbers by topic."""
    topics = sorted([topic_of(rig, 3), topic_of(rig, 3)])
    group = unique("group")
    two = members.join(group, *topics), members.join(group, *topics)
    until(
        lambda: sum(len(member.owned) for member in two) == 6 and two[0].owned and two[1].owned,
        *two,
    )
    found = [[sorted(s.partition for s in m.owned if s.topic == t) for t in topics] for m in two]
    return sorted(found)


@pytest.mark.parametrize("rig", rigs("range"), indirect=True)
def test_by_range_a_member_has_neighbours_and_the_same_of_each_topic(
    shares: list[list[list[int]]],
) -> None:
    assert shares == [[[0, 1], [0, 1]], [[2], [2]]]


@pytest.mark.parametrize("rig", rigs("roundrobin"), indirect=True)
def test_by_roundrobin_partitions_are_dealt_out_one_after_the_other(
    shares: list[list[list[int]]],
) -> None:
    assert shares == [[[0, 2], [1]], [[1], [0, 2]]]
