"""Why a pipeline's lag grows, and what does not fit: all that is found, by all rules."""

from __future__ import annotations

from worker.flow.doctor.causes import CAUSES
from worker.flow.doctor.facts import Facts
from worker.flow.doctor.finding import Finding
from worker.flow.doctor.misfits import MISFITS


def findings(facts: Facts) -> list[Finding]:
    """What is wrong with a pipeline, problems first."""
    found = [one for rule in (*CAUSES, *MISFITS) for one in rule(facts)]
    return sorted(found, key=lambda one: one.severity != "problem")
