"""Tasks in a thread of their own: what they raise is raised, and what does not return is left."""

from __future__ import annotations

from threading import Event, current_thread

import pytest

from worker.aside import Aside

PATIENCE = 30.0


def test_calls_are_made_one_after_the_other_in_a_thread_of_their_own() -> None:
    aside, threads = Aside("aside"), []

    for _ in range(3):
        aside.call(lambda: threads.append(current_thread()), PATIENCE)
    aside.close()
    threads[0].join(PATIENCE)

    assert len({*threads}) == 1
    assert threads[0] is not current_thread()
    assert not threads[0].is_alive()


def test_what_a_call_raises_is_raised() -> None:
    aside = Aside("aside")

    def fail() -> None:
        raise LookupError("what the call says")

    with pytest.raises(LookupError, match="what the call says"):
        aside.call(fail, PATIENCE)
    aside.call(int, PATIENCE)


def test_a_call_that_does_not_return_is_left_alone() -> None:
    aside, returns, threads = Aside("aside"), Event(), []

    def hang() -> None:
        threads.append(current_thread())
        returns.wait(PATIENCE)

    with pytest.raises(TimeoutError):
        aside.call(hang, 0.01)
    aside.close()
    assert threads[0].daemon

    returns.set()
    threads[0].join(PATIENCE)
    assert not threads[0].is_alive()


def test_what_is_started_is_done_while_nobody_waits_and_tells_how_it_has_ended() -> None:
    aside, begins = Aside("aside"), Event()

    def fail() -> None:
        begins.wait(PATIENCE)
        raise LookupError("no")

    failed, done = aside.start(fail), aside.start(int)
    assert not failed.done()
    begins.set()

    with pytest.raises(LookupError, match="no"):
        failed.result(PATIENCE)
    assert done.result(PATIENCE) is None
    aside.close()
