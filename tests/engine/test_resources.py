"""Resources: set up in order, torn down in reverse, whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from worker.engine.pool import LoopThread
from worker.engine.resources import ResourceFailed, Resources
from worker.handlers import Registry


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


def test_resources_are_given_to_each_other_and_torn_down_in_reverse(loop: LoopThread) -> None:
    happened: list[str] = []
    registry = Registry()

    def settings() -> Iterator[str]:
        yield "settings"
        happened.append("settings down")

    async def client(settings: str) -> AsyncIterator[str]:
        yield f"client of {settings}"
        happened.append("client down")

    registry.resource(client, name=None)
    registry.resource(settings, name=None)
    resources = Resources(registry.needed(["client"]), loop)

    resources.set_up()
    assert resources.values == {"settings": "settings", "client": "client of settings"}

    resources.tear_down()
    assert happened == ["client down", "settings down"]


def test_a_resource_that_fails_is_named_and_the_earlier_ones_are_torn_down(
    loop: LoopThread,
) -> None:
    happened: list[str] = []
    registry = Registry()

    def first() -> Iterator[int]:
        yield 1
        happened.append("down")

    def second(first: int) -> Iterator[int]:
        raise OSError("no network")
        yield first

    registry.resource(first, name=None)
    registry.resource(second, name=None)

    with pytest.raises(ResourceFailed, match=r"resource second .* OSError: no network"):
        Resources(registry.needed(["second"]), loop).set_up()
    assert happened == ["down"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_resource_that_yields_nothing_is_told_so(
    loop: LoopThread,
    is_async: bool,  # noqa: FBT001
) -> None:
    registry = Registry()

    def nothing() -> Iterator[int]:
        yield from ()

    async def nothing_either() -> AsyncIterator[int]:
        for number in list[int]():
            yield number

    registry.resource(nothing_either if is_async else nothing, name="pool")

    with pytest.raises(ResourceFailed, match=r"resource pool .* set up: it did not yield"):
        Resources(registry.needed(["pool"]), loop).set_up()


def test_a_tear_down_that_fails_does_not_keep_the_others_from_theirs(loop: LoopThread) -> None:
    happened: list[str] = []
    registry = Registry()

    def first() -> Iterator[int]:
        yield 1
        happened.append("down")

    def second(first: int) -> Iterator[int]:
        yield first
        raise OSError

    registry.resource(first, name=None)
    registry.resource(second, name=None)
    resources = Resources(registry.needed(["second"]), loop)
    resources.set_up()

    resources.tear_down()

    assert happened == ["down"]
