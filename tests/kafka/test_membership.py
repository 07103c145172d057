"""What the client's opaque metadata of a group says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.conftest import GROUPS
from tests.contract.member import Members, until
from tests.contract.rig import KafkaRig, Layout, unique
from worker.kafka.broker import KafkaCluster
from worker.kafka.membership import generation


@pytest.fixture
def cluster() -> Iterator[KafkaCluster]:
    with KafkaCluster() as cluster:
        yield cluster


@pytest.mark.kafka
@pytest.mark.parametrize("protocol", ["sticky", "range"])
def test_a_member_taken_for_dead_has_not_joined_until_its_coordinator_is_back(
    cluster: KafkaCluster, protocol: str
) -> None:
    rig = KafkaRig(cluster.address, GROUPS[protocol])
    topic = unique("topic")
    rig.admin().create({topic: Layout(1)})
    members = Members(rig)
    member = members.settled(unique("group"), topic)
    until(lambda: member.owned, member)
    with_partitions = member.consumer.joined

    cluster.kill_node(0)
    until(lambda: not member.owned, member)
    when_lost = member.consumer.joined
    cluster.start_node(0, wait=False)
    until(lambda: member.owned, member)

    assert [what for what, _ in member.events] == ["assigned", "lost", "assigned"]
    assert (with_partitions, when_lost, member.consumer.joined) == (True, False, True)
    members.close()


def test_the_generation_stands_behind_the_mark() -> None:
    assert generation(b"CGMDv2:\x02\x01\x00\x00group\x00member\x00\x01") == 258


def test_a_member_that_has_not_joined_has_a_negative_one() -> None:
    assert generation(b"CGMDv2:\xff\xff\xff\xffgroup\x00\x00\x01") == -1


def test_metadata_of_another_version_is_no_generation() -> None:
    with pytest.raises(ValueError, match="begins with b'CGMDv3:'"):
        generation(b"CGMDv3:\x02\x00\x00\x00group")
