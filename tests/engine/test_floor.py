"""Pipelines of a process that make way for one that has to be alone."""

from __future__ import annotations

from worker.engine.floor import Floor


def test_one_is_alone_when_every_other_has_said_that_it_has_nothing_at_work() -> None:
    floor = Floor()
    for member in "abc":
        floor.join(member)
    turn = floor.ask("a")
    assert not floor.is_alone(turn)

    assert not floor.may_work("b", idle=True)
    assert not floor.may_work("c", idle=False)
    assert not floor.is_alone(turn)

    assert not floor.may_work("c", idle=True)
    assert floor.is_alone(turn)
    assert floor.may_work("a", idle=True)


def test_who_leaves_is_not_waited_for_and_who_comes_waits() -> None:
    floor = Floor()
    floor.join("a")
    floor.join("b")
    turn = floor.ask("a")

    floor.leave("b")

    assert floor.is_alone(turn)
    floor.join("c")
    assert not floor.may_work("c", idle=True)


def test_two_that_ask_have_their_turns_one_after_the_other() -> None:
    floor = Floor()
    for member in "ab":
        floor.join(member)
    first, second = floor.ask("a"), floor.ask("b")
    assert not floor.may_work("b", idle=True)
    assert (floor.is_alone(first), floor.is_alone(second)) == (True, False)

    floor.give_up(first)
    assert not floor.is_alone(second), "what was said to the first does not count"
    assert not floor.may_work("a", idle=True)
    assert floor.is_alone(second)

    floor.give_up(second)
    assert floor.may_work("a", idle=False)
    assert floor.may_work("b", idle=False)
