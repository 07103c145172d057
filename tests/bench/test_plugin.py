"""Runs of pytest that are timed."""

from pathlib import Path

import pytest

from bench.plugin import CASES, PLAIN, Case, figures, table
from bench.rounds import Attempt, Failed


def test_a_run_is_timed_with_the_plugin_and_without(tmp_path: Path) -> None:
    cases = [case for case in CASES if case.test == PLAIN]

    found = [Attempt(one.name, one.label, 0, figures(one, tmp_path)) for one in cases]

    assert [set(one.figures) for one in found] == [{"ms", "cpu"}] * 2
    assert f"| {cases[1].label} | " in table(found)


def test_a_run_that_fails_has_no_figures_but_its_last_words(tmp_path: Path) -> None:
    case = Case("failing", "one that fails", [], "def test_it(): assert 1 == 2\n")

    with pytest.raises(Failed, match="1 failed"):
        figures(case, tmp_path)
