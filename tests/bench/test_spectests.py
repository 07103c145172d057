"""The tests of a spec that are timed."""

from pathlib import Path

from bench.rounds import Attempt
from bench.spectests import KINDS, Case, figures, table


def test_one_of_each_kind_passes_and_is_timed(tmp_path: Path) -> None:
    case = Case("each", "one of each", len(KINDS), KINDS)

    found = figures(case, tmp_path)

    assert set(found) == {"ms", "cpu"}
    assert "| one of each | " in table([Attempt(case.name, case.label, 0, found)])
