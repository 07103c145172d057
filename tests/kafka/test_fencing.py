"""What a member that is told to be fenced makes of what its group says."""

from __future__ import annotations

import pytest

from worker.errors import ClientError, ClientFatal, Fenced
from worker.kafka.fencing import ASK_EVERY, SESSIONS, Fencing
from worker.testing import ManualClock

SESSION = 10.0
LAST = "the id of its assignment"
OTHER = "an id of nobody knows whom"


class Group:
    """Says who has the instance."""

    def __init__(self, holder: str | None) -> None:
        self.holder = holder
        self.asked = 0
        self.refusal: ClientError | None = None

    def __call__(self) -> str | None:
        self.asked += 1
        if self.refusal is not None:
            raise self.refusal
        return self.holder


def fenced(group: Group, clock: ManualClock, now: str | None) -> Fencing:
    """A member that had an id, and is told to be fenced while its client says another."""
    return Fencing(Fenced("told so"), LAST, now, group, SESSION, clock.monotonic)


def test_a_member_that_has_kept_its_session_and_finds_another_in_its_place_has_a_twin() -> None:
    fencing = fenced(Group(OTHER), ManualClock(), LAST)

    with pytest.raises(Fenced, match="told so"):
        fencing.look()


@pytest.mark.parametrize("now", [LAST, "", None, "a newer id"])
@pytest.mark.parametrize("holder", [None, LAST])
def test_a_member_whose_place_is_its_own_or_free_goes_on_with_a_new_client(
    now: str | None, holder: str | None
) -> None:
    fencing = fenced(Group(holder), ManualClock(), now)

    with pytest.raises(ClientFatal, match="whose instance no other has"):
        fencing.look()


def test_a_member_that_has_joined_anew_knows_that_place_for_its_own() -> None:
    fencing = fenced(Group("a newer id"), ManualClock(), "a newer id")

    with pytest.raises(ClientFatal, match="whose instance no other has"):
        fencing.look()


def test_a_member_that_has_lost_its_session_waits_for_a_place_that_nobody_keeps() -> None:
    group, clock = Group(OTHER), ManualClock()
    fencing = fenced(group, clock, None)

    fencing.look()
    clock.advance(SESSION)
    fencing.look()
    group.holder = None
    clock.advance(ASK_EVERY)

    with pytest.raises(ClientFatal, match="whose instance no other has"):
        fencing.look()


def test_a_place_that_is_kept_for_longer_than_a_session_is_that_of_a_twin() -> None:
    group, clock = Group(OTHER), ManualClock()
    fencing = fenced(group, clock, None)

    fencing.look()
    clock.advance(SESSIONS * SESSION)

    with pytest.raises(Fenced, match="told so"):
        fencing.look()


def test_a_group_is_asked_twice_a_second_at_most() -> None:
    group, clock = Group(OTHER), ManualClock()

    fencing = fenced(group, clock, None)
    fencing.look()
    fencing.look()
    assert group.asked == 1
    clock.advance(ASK_EVERY)
    fencing.look()
    assert group.asked == 2


def test_a_group_that_refuses_to_say_who_it_is_gives_way_to_a_new_client() -> None:
    group = Group(OTHER)
    group.refusal = ClientError("no right")
    fencing = fenced(group, ManualClock(), LAST)

    with pytest.raises(ClientFatal, match="who it is cannot be had: no right"):
        fencing.look()


def test_a_group_whose_coordinator_is_being_found_is_asked_again_but_not_for_ever() -> None:
    group, clock = Group(OTHER), ManualClock()
    group.refusal = ClientError("not yet", retriable=True)
    fencing = fenced(group, clock, LAST)

    fencing.look()
    clock.advance(SESSIONS * SESSION)

    with pytest.raises(ClientFatal, match="who it is cannot be had: not yet"):
        fencing.look()
