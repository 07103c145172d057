"""Nothing leaves a callback of the client."""

from __future__ import annotations

import pytest

from worker.kafka.callbacks import Kept


def fail(error: BaseException) -> None:
    raise error


def test_a_kept_exception_is_raised_once_and_not_by_the_callback() -> None:
    kept = Kept()

    kept.guard(fail)(ValueError("planted"))

    with pytest.raises(ValueError, match="planted"):
        kept.release()
    kept.release()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), GeneratorExit()])
def test_not_even_a_base_exception_leaves_a_callback(error: BaseException) -> None:
    kept = Kept()

    kept.guard(fail)(error)

    with pytest.raises(type(error)):
        kept.release()


def test_the_first_exception_is_the_one_that_is_kept() -> None:
    kept = Kept()

    kept.guard(fail)(ValueError("first"))
    kept.guard(fail)(ValueError("second"))

    with pytest.raises(ValueError, match="first"):
        kept.release()
