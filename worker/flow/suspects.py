"""Messages during which a process has ended, until it is known what becomes of them."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from worker.types import Failure, TopicPartition

Place = tuple[TopicPartition, int]
"""A message: its partition and its offset."""


class Suspects:
    """A suspect goes to a process alone; when that ends as well, the message dies of it."""

    def __init__(self) -> None:
        self._fates: dict[Place, Failure | None] = {}
        """None while a suspect has not been tried alone."""

    def __len__(self) -> int:
        """How many there are."""
        return len(self._fates)

    def blame(self, places: Sequence[Place], failure: Failure, *, certain: bool) -> None:
        """A process has ended during one of these; `certain` if that need not be tried again."""
        for place in places:
            is_guilty = place in self._fates or (certain and len(places) == 1)
            self._fates[place] = failure if is_guilty else None

    def acquit(self, places: Sequence[Place]) -> None:
        """These were handled."""
        for place in places:
            self._fates.pop(place, None)

    def fate(self, place: Place) -> Failure | None:
        """What this message dies of; asked once, then it is forgotten."""
        failure = self._fates.get(place)
        if failure is not None:
            del self._fates[place]
        return failure

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
