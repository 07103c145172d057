"""What Kafka's own tools tell of leaders and coordinators is understood."""

from __future__ import annotations

import pytest

from tests.faults.roles import Coordinated, going_on, quorum_leader

STATUS = """\
ClusterId:              fMCL8kv1SWm87L_Md-I2hg
LeaderId:               2
LeaderEpoch:            7
HighWatermark:          100
"""
TRANSACTIONS = """\
TransactionalId          	Coordinator	ProducerId	TransactionState
faults.exact.0f3c.0      	1          	1001      	Ongoing
faults.exact.77aa.0      	2          	1002      	PrepareCommit
faults.exact.dead.0      	0          	1003      	CompleteAbort
input                    	0          	1000      	Ongoing
"""


@pytest.mark.parametrize(("told", "node"), [(STATUS, 2), ("", None), ("LeaderId:  -1\n", None)])
def test_the_leader_of_the_controllers_is_the_one_that_their_quorum_names(
    told: str, node: int | None
) -> None:
    assert quorum_leader(told) == node


def test_only_transactions_of_the_workers_that_are_going_on_name_a_coordinator() -> None:
    found = going_on(TRANSACTIONS, "faults.exact.")

    assert found == [Coordinated("faults.exact.0f3c.0", 1), Coordinated("faults.exact.77aa.0", 2)]
    assert going_on("", "faults.exact.") == []
