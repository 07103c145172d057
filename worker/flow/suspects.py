"""Messages during which a process has ended, until it is known what becomes of them."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import NamedTuple

from worker.types import Failure, TopicPartition

Place = tuple[TopicPartition, int]
"""A message: its partition and its offset."""


class Fate(NamedTuple):
    """What a message dies of, None if it may not be to blame, and what it has taken."""

    failure: Failure | None
    seconds: float = 0.0
    """In all processes that have ended during it."""


class Suspects:
    """A suspect goes to a process alone; when that ends as well, the message dies of it."""

    def __init__(self) -> None:
        self._fates: dict[Place, Fate] = {}
        """Without a failure while a suspect has not been tried alone."""

    def __len__(self) -> int:
        """How many there are."""
        return len(self._fates)

    def blame(
        self, places: Sequence[Place], failure: Failure, seconds: float, *, certain: bool
    ) -> None:
        """A process has ended during one of these, after so long, of which all have equal shares.

        `certain` if that need not be tried again.
        """
        for place in places:
            is_guilty = place in self._fates or (certain and len(places) == 1)
            before = self._fates.get(place, Fate(None)).seconds
            taken = before + seconds / len(places)
            self._fates[place] = Fate(failure if is_guilty else None, taken)

    def acquit(self, places: Sequence[Place]) -> None:
        """These were handled."""
        for place in places:
            self._fates.pop(place, None)

    def fate(self, place: Place) -> tuple[Failure, float] | None:
        """What this message dies of, and its seconds; asked once, then it is forgotten."""
        failure, seconds = self._fates.get(place, Fate(None))
        if failure is None:
            return None
        del self._fates[place]
        return failure, seconds

    def together(self, places: Sequence[Place]) -> int:
        """How many of the first of these go to a process together: up to the next suspect."""
        if places[0] in self._fates:
            return 1
        return next((n for n, place in enumerate(places) if place in self._fates), len(places))


def crashed(code: int) -> Failure:
    """Why a message failed during which a process ended with this code, negative by a signal."""
    if code >= 0:
        how = f"with exit code {code}"
    else:
        known = {int(one): one.name for one in signal.Signals}
        how = f"by signal {-code} ({known.get(-code, 'unknown')})"
    return Failure("crash", "", f"the process ended {how}", harmless=True)
