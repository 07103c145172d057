"""What is written into the input: messages numbered by key, each with what is to become of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import count
from random import Random
from typing import Final, Literal, get_args

import orjson

Kind = Literal["plain", "filtered", "fanned out", "fails", "flaky", "later", "hangs"]
"""One result, none, several; a dead letter; a failure at first, a failure in place until it is
tried later, a handler that never ends where a time-out can end it."""
KINDS: Final = get_args(Kind)
SHARES: Final = (0.7, 0.1, 0.12, 0.03, 0.03, 0.0195, 0.0005)
"""Parts of the messages that are of these kinds."""
KEYS: Final = 100
"""Keys that each producer has for each partition by default; none is shared, nor moves when
partitions are added, so that the numbers of a key are in the order of its log."""
SLEEPS: Final = 0.01
"""Part of the messages that take up to `LONGEST_SLEEP` seconds."""
LONGEST_SLEEP: Final = 0.5


@dataclass(frozen=True, slots=True)
class Planned:
    """One message of the input."""

    id: int
    key: str
    partition: int
    number: int
    """The how manieth of its key."""
    kind: Kind
    results: int
    sleeps: float

    @property
    def value(self) -> bytes:
        """The payload."""
        return orjson.dumps(asdict(self))


def planned(value: bytes) -> Planned:
    """Read a payload back."""
    return Planned(**orjson.loads(value))


def plan(
    seed: int, first: int, step: int, partitions: Callable[[], int], keys: int = KEYS
) -> Iterator[Planned]:
    """Make messages without end, for so many partitions; their ids go from `first` by `step`."""
    chance = Random(seed)
    numbers = Counter[str]()
    for one in count(first, step):
        partition = chance.randrange(partitions())
        key = f"{first}-{partition}-{chance.randrange(keys)}"
        (kind,) = chance.choices(KINDS, SHARES)
        sleeps = chance.random() * LONGEST_SLEEP if chance.random() < SLEEPS else 0.0
        results = _results(kind, chance)
        yield Planned(one, key, partition, numbers[key], kind, results, sleeps)
        numbers[key] += 1


def _results(kind: Kind, chance: Random) -> int:
    match kind:
        case "filtered" | "fails":
            return 0
        case "fanned out":
            return chance.choice((2, 3))
        case _:
            return 1
