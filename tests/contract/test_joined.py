"""What every consumer knows of its membership, in each protocol."""

from __future__ import annotations

import pytest

from tests.contract.conftest import GROUPS, rig_of
from tests.contract.member import Members, until
from tests.contract.rig import Rig, unique
from tests.contract.test_consumer import filled


@pytest.fixture(
    params=["memory", *(pytest.param(kind, marks=pytest.mark.kafka) for kind in GROUPS)]
)
def rig(request: pytest.FixtureRequest) -> Rig:
    return rig_of(request)


def test_a_member_has_joined_when_it_has_partitions_and_no_more_after_it_is_closed(
    rig: Rig, members: Members
) -> None:
    (source,) = filled(rig, 1)
    member = members.join(unique("group"), source.topic)
    before = member.consumer.joined

    until(lambda: member.owned, member)
    with_partitions = member.consumer.joined
    member.consumer.close()

    assert (before, with_partitions, member.consumer.joined) == (False, True, False)


def test_a_member_too_many_knows_that_it_has_joined(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 1)
    group = unique("group")
    first = members.settled(group, source.topic)
    second = members.join(group, source.topic)
    before = second.consumer.joined

    until(
        lambda: second.consumer.joined and len(first.owned) + len(second.owned) == 1, first, second
    )

    assert not before
