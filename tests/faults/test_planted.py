"""A run with a bug in its workers, on three real brokers, is found to be bad, by its right name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.judge import judge
from tests.faults.nemesis import Order, run
from tests.faults.planted import BUGS
from tests.faults.run import Limits

pytestmark = [pytest.mark.kafka, pytest.mark.long]

FOUND = {
    "loses": {"NL", "TX"},
    "doubles": {"ND", "BD"},
    "reverses": {"KO"},
    "commits-ahead": {"MC"},
    "commits-back": {"MC"},
    "grows": {"BM"},
    "ends-badly": {"EX"},
    "complains": {"EX"},
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_in_the_workers_is_called_by_its_name(bug: str, tmp_path: Path) -> None:
    order = Order(
        seed=1,
        rate=300,
        scenarios=["storm"] if bug == "commits-ahead" else ["kill-worker"],
        limits=Limits(rss=160 << 20),
        program=("tests.faults.planted", bug),
    )

    findings = judge(run(order, tmp_path, print))

    assert FOUND[bug] <= {finding.code for finding in findings}, findings
