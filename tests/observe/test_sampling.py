from __future__ import annotations

import pytest
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)

from worker.observe.sampling import Gate, gate_of


@pytest.mark.parametrize(
    ("root", "share"),
    [
        (ALWAYS_ON, 1.0),
        (ALWAYS_OFF, 0.0),
        (TraceIdRatioBased(0.25), 0.25),
        (TraceIdRatioBased(1e-06), 1e-06),
    ],
)
def test_what_minds_its_parent_is_not_asked_about_messages(root: Sampler, share: float) -> None:
    assert gate_of(ParentBased(root)) == Gate(by_parent=True, share=share, decides=True)


@pytest.mark.parametrize("sampler", [ALWAYS_ON, TraceIdRatioBased(0.25)])
def test_what_minds_no_parent_is_asked_about_each(sampler: Sampler) -> None:
    assert gate_of(sampler) == Gate(by_parent=False, share=1.0, decides=False)


@pytest.mark.parametrize(
    ("share", "least", "most"), [(0.0, 0, 0), (0.01, 800, 1_200), (1.0, 100_000, 100_000)]
)
def test_of_messages_without_a_context_the_share_is_drawn(
    share: float, least: int, most: int
) -> None:
    gate = Gate(by_parent=True, share=share, decides=True)
    places = range(500)

    drawn = [place for _ in range(200) for place in gate.some(places)]

    assert least <= len(drawn) <= most
    assert set(drawn) <= set(places)
