"""Waiting that signals may interrupt."""

from __future__ import annotations

import sys
import threading
from types import FrameType
from typing import Any

from worker.engine.waiting import Latch


def lines_until_set(latch: Latch, at: int) -> int:
    """Wait for a latch that a signal sets at this line of the wait; how many lines there were."""
    lines, before = 0, sys.gettrace()

    def trace(_frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal lines
        lines += event == "line"
        if event == "line" and lines == at:
            latch.set()
        return trace

    sys.settrace(trace)
    try:
        latch.wait(0.0)
    finally:
        sys.settrace(before)
    return lines


def test_a_signal_handler_may_set_what_its_own_thread_waits_for_wherever_it_is() -> None:
    line = 1
    while True:
        latch = Latch()
        if lines_until_set(latch, line) < line:
            break
        assert latch.wait(0.0)
        line += 1

    assert line > 2


def test_a_latch_that_is_set_stays_set_and_wakes_who_waits() -> None:
    latch = Latch()
    before = (latch.is_set(), latch.wait(0.0))

    threading.Thread(target=latch.set).start()

    assert before == (False, False)
    assert [latch.wait(10.0), latch.wait(10.0), latch.is_set()] == [True, True, True]
