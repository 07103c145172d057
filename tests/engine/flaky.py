"""A handler that fails as often as it is told, and how time passes for its rig."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tests.engine.rig import Rig


class Flaky:
    """A handler that fails for the first times at messages, as often as is said of each."""

    def __init__(self, failures: dict[int, int], error: Callable[[], Exception] = OSError) -> None:
        self.calls: list[int] = []
        self._left = Counter(failures)
        self._error = error

    def handler(self) -> Callable[[int], int]:
        def flaky(payload: int) -> int:
            self.calls.append(payload)
            if self._left[payload] > 0:
                self._left[payload] -= 1
                raise self._error()
            return payload

        return flaky


def at_once(rig: Rig, steps: int = 6) -> None:
    """Let the runner do some rounds while time stands still."""
    for _ in range(steps):
        rig.runner.step()


def later(rig: Rig, seconds: float, steps: int = 6) -> None:
    """The same after some time."""
    rig.clock.advance(seconds)
    at_once(rig, steps)


def send(rig: Rig, *values: int, key: bytes | None, partition: int = 0) -> None:
    """Write messages of one key."""
    for value in values:
        rig.broker.append("source", str(value).encode(), key, partition=partition)


def letters(rig: Rig) -> list[dict[str, bytes | None]]:
    """The headers of the dead letters."""
    return [dict(letter.headers) for letter in rig.broker.records("dlq")]
