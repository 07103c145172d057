"""The simulator as it is timed."""

from pathlib import Path

import pytest

from bench.rounds import Attempt
from bench.simulation import CASES, Case, figures, table


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_run_of_each_pipeline_is_timed(case: Case, tmp_path: Path) -> None:
    found = figures(case, tmp_path, runs=1)

    assert set(found) == {"s"}
    assert f"| {case.label} | " in table([Attempt(case.name, case.label, 0, found)])
