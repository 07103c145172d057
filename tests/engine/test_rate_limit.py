"""A pipeline that is told how fast it may go."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.engine.rig import Rig


def same(payload: Any) -> Any:
    return payload


def test_a_pipeline_handles_no_more_than_its_rate_and_waits_in_poll_meanwhile() -> None:
    rig = Rig(same, {"rate_limit": 50.0, "in_flight": {"messages": 100}})
    rig.send(*map(str, range(400)))

    handled = []
    for _ in range(40):
        rig.clock.advance(0.1)
        for _ in range(3):
            rig.runner.step()
        handled.append(rig.counts.handled)

    assert max(after - before for before, after in pairwise(handled)) <= 5
    assert handled[-1] == pytest.approx(200, abs=5)
    assert rig.runner.pressure.messages <= 100
    assert rig.runner._poll_wait() > 0


def test_what_a_run_gives_back_is_not_counted_twice() -> None:
    rig = Rig(same, {"rate_limit": 100.0})
    rig.send(*map(str, range(10)))
    rig.pool.hold = True
    rig.runner.step()
    rig.runner.step()
    (run,) = rig.pool.runs
    rig.pool._execute = lambda _run: rig.executor.execute(run)[:4]
    rig.pool.hold = False

    rig.runner.step()

    assert rig.counts.handled == 4
    assert rig.runner._rate.room(rig.clock.monotonic()) == 1, "of 11 at once, 10 were given"
