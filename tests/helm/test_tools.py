"""Which Helm the tests take."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helm.chart import Chart
from tests.helm.tools import MAJORS, helm


@pytest.mark.parametrize("major", MAJORS)
def test_the_helm_of_the_machine_is_taken_for_its_version_alone(
    chart: Chart, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, major: int
) -> None:
    own = tmp_path / "own"
    own.write_text(f"#!/bin/sh\necho v{major}.99.0\n")
    own.chmod(0o755)
    monkeypatch.setenv("HELM", str(own))

    found = {one: helm(one, tmp_path) for one in MAJORS}

    assert found.pop(major).program == own
    (other,) = found
    assert found[other].program == chart.helms[other].program
