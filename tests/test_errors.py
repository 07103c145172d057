"""Every error is in the tree at the top of its module and says what a caller needs to know."""

from __future__ import annotations

import inspect
import re

import pytest

from worker import errors
from worker.errors import ClientError, SendFailed, WorkerError
from worker.types import Delivered

THIRTEEN = [
    errors.ClientNotInitialized,
    errors.ProducerNotEnabled,
    errors.ConsumerNotEnabled,
    errors.AlreadyConsuming,
    errors.NotConsuming,
    errors.InConsumerGroup,
    errors.NotInConsumerGroup,
    errors.SendFailed,
    errors.ConsumeFailed,
    errors.TopicNotFound,
    errors.InvalidPartition,
    errors.ConnectionFailed,
    errors.ClientClosed,
]
"""What the client raises, each for one thing."""


def drawn() -> dict[str, str | None]:
    """The errors that are drawn, each with the one it hangs from."""
    parents: dict[str, str | None] = {}
    above: dict[str, str] = {}
    for mark, name in re.findall(r"^ *([*+-]) (\w+)", errors.__doc__ or "", re.MULTILINE):
        above[mark] = name
        parents[name] = above.get({"*": "", "-": "*", "+": "-"}[mark])
    return parents


def defined() -> dict[str, str | None]:
    """The errors that there are, each with its base where that is one of ours."""
    kinds = inspect.getmembers(errors, inspect.isclass)
    own = {name: kind for name, kind in kinds if kind.__module__ == errors.__name__}
    bases = {name: kind.__bases__[0].__name__ for name, kind in own.items()}
    return {name: base if base in own else None for name, base in bases.items()}


def test_the_tree_that_is_drawn_is_the_one_that_there_is() -> None:
    assert drawn() == defined()


def test_the_client_has_thirteen_errors_of_its_own() -> None:
    assert len({kind.__name__ for kind in THIRTEEN}) == 13
    assert {drawn()[kind.__name__] for kind in THIRTEEN} == {"ClientError"}


@pytest.mark.parametrize("kind", THIRTEEN)
def test_an_error_of_the_client_is_an_error_of_the_worker(kind: type[ClientError]) -> None:
    with pytest.raises(WorkerError) as caught:
        raise kind("planted")

    assert isinstance(caught.value, Exception)


@pytest.mark.parametrize("kind", THIRTEEN)
def test_an_error_of_the_client_has_a_code_a_hint_to_try_again_and_advice(
    kind: type[ClientError],
) -> None:
    plain = kind("planted")
    full = kind("planted", code=7, retriable=True, advice="do this")

    assert (plain.text, plain.code, plain.retriable) == ("planted", None, False)
    assert plain.advice == kind.advice
    assert (full.text, full.code, full.retriable, full.advice) == ("planted", 7, True, "do this")
    assert str(full) == "planted; do this"


@pytest.mark.parametrize("kind", THIRTEEN)
def test_an_error_of_the_client_says_what_to_do_where_that_is_always_the_same(
    kind: type[ClientError],
) -> None:
    by_cause = {errors.SendFailed, errors.ConsumeFailed, errors.InvalidPartition}

    assert bool(kind.advice) == (kind not in by_cause)
    assert str(kind("planted")) == ("planted" if kind in by_cause else f"planted; {kind.advice}")


def test_advice_can_be_taken_away() -> None:
    assert str(errors.ClientClosed("planted", advice="")) == "planted"


@pytest.mark.parametrize("name", defined())
def test_every_error_says_what_it_means(name: str) -> None:
    assert getattr(errors, name).__doc__  # not what it inherits


def test_a_record_that_failed_alone_is_the_one_at_place_0() -> None:
    failed = SendFailed("planted")

    assert failed.failed == {0: failed}
    assert failed.delivered == {}


def test_records_that_failed_among_others_are_named_by_their_places() -> None:
    one, where = SendFailed("one"), Delivered("t", 0, 7, 99)

    failed = SendFailed("1 of 2", failed={1: one}, delivered={0: where})

    assert failed.failed == {1: one}
    assert failed.delivered == {0: where}
