"""What is left of a file without its mistakes, so that the later checks can be made of it, too.

Each mistake is taken out: an unknown key, a value that is not legal, one of two keys that exclude
each other. What is required then gets a stand-in, or its mapping goes as well. A mistake that is
found only afterwards is told, unless it is due to what was taken out.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterable
from itertools import count, islice
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from worker.settings import WRITTEN
from worker.spec.models import fields, model_at
from worker.spec.sentences import misspelt
from worker.spec.tree import KeyPath

_GONE: Final = object()
"""In the place of an item that was taken out of a list, so that the others keep theirs."""
_STAND_IN: Final = "stand-in"
_PIPELINE: Final = {"from": _STAND_IN, "handler": _STAND_IN}
_STAND_INS: Final[dict[KeyPath, Any]] = {
    ("version",): 1,
    ("name",): _STAND_IN,
    ("kafka",): {"brokers": "localhost:1"},
    ("kafka", "brokers"): "localhost:1",
    ("handlers",): ["stand_in"],
    ("pipelines",): {_STAND_IN: _PIPELINE},
    **{("pipelines", "*", key): value for key, value in _PIPELINE.items()},
}
"""For keys that a spec cannot do without; `*` is any name."""


def lacks(taken: Iterable[KeyPath], path: KeyPath) -> bool:
    """Whether a path, something above it or something in it was taken out."""
    return any(out[: len(path)] == path or path[: len(out)] == out for out in taken)


def as_written(taken: Collection[KeyPath], path: KeyPath) -> KeyPath:
    """Where something stands in the file whose place is known in what is left of it."""
    written: KeyPath = ()
    for part in path:
        place = _nth_kept(taken, written, part) if isinstance(part, int) else part
        written = (*written, place)
    return written


class Pruning:
    """A copy of a file's values that gets smaller; all paths are those of the file."""

    def __init__(self, value: Any, model: type[BaseModel], faulty: Iterable[KeyPath]) -> None:
        self._value = copy.deepcopy(value)
        self.taken: set[KeyPath] = set()
        """What was taken out and may be missed."""
        self._model = model
        for path in sorted(faulty, reverse=True):
            self.take_out(path)

    @property
    def value(self) -> Any:
        """What is left."""
        return _kept(self._value)

    def take_out(self, path: KeyPath) -> bool:
        """Take a key or an item out; whether that has changed anything."""
        if not path:
            return False
        self.taken.add(path)
        inside, key = self._at(path[:-1]), path[-1]
        stand_in = _stand_in(path)
        if stand_in is not None and isinstance(inside, dict):
            before = inside.get(key)
            inside[key] = copy.deepcopy(stand_in)
            return bool(before != stand_in)
        if self._is_required(path):
            return self.take_out(path[:-1])
        return _removed(inside, key)

    def take_out_unknown(self, path: KeyPath) -> bool:
        """Take out a key that does not exist, and may be another one misspelt."""
        meant = misspelt(model_at(self._model, path[:-1]), str(path[-1]))
        if meant is not None:
            self.taken.add((*path[:-1], meant))
        return _removed(self._at(path[:-1]), path[-1])

    def settle(self, path: KeyPath) -> bool:
        """Take out what is not legal; of a mapping whose keys each are legal, one of these."""
        owner, value = model_at(self._model, path), self._at(path)
        if owner is None or not isinstance(value, dict):
            return self.take_out(path)
        for key, info in reversed(fields(owner).items()):
            rest = {name: value[name] for name in value if name != key}
            if key in value and not info.is_required() and _is_legal(owner, _kept(rest)):
                return self.take_out((*path, key))
        return self.take_out(path)

    def explains(self, mapping: KeyPath, text: str) -> bool:
        """Whether a mistake in a mapping or list is due to what was taken out of it.

        The text of such a mistake names the keys that it is about; lists and mappings of names can
        only have become too short.
        """
        inside = [_key(out) for out in self.taken if out[: len(mapping)] == mapping != out]
        if model_at(self._model, mapping) is None:
            return bool(inside)
        return any(re.search(rf"\b{re.escape(name)}\b", text) for name in inside)

    def _at(self, path: KeyPath) -> Any:
        value = self._value
        for part in path:
            try:
                value = value[part]
            except (LookupError, TypeError):  # it was taken out already
                return None
        return value

    def _is_required(self, path: KeyPath) -> bool:
        info = fields(model_at(self._model, path[:-1])).get(str(path[-1]))
        return info is not None and info.is_required()


def _stand_in(path: KeyPath) -> Any:
    any_name = ("pipelines", "*", *path[2:]) if path[:1] == ("pipelines",) else path
    return _STAND_INS.get(any_name if len(path) > 2 else path)


def _nth_kept(taken: Collection[KeyPath], within: KeyPath, number: int) -> int:
    """The index in the file of the item of a list that is left as this one, from 0."""
    kept = (index for index in count() if (*within, index) not in taken)
    return next(islice(kept, number, None))


def _key(path: KeyPath) -> str:
    """The key that a path ends with, that of its list for an item."""
    return next(part for part in reversed(path) if isinstance(part, str))


def _removed(inside: Any, key: str | int) -> bool:
    try:
        changes = inside[key] is not _GONE
        if isinstance(key, int):
            inside[key] = _GONE
        else:
            del inside[key]
    except (LookupError, TypeError):  # it was taken out already
        return False
    return changes


def _kept(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _kept(inside) for key, inside in value.items()}
    if isinstance(value, list):
        return [_kept(item) for item in value if item is not _GONE]
    return value


def _is_legal(owner: type[BaseModel], value: dict[str, Any]) -> bool:
    try:
        owner.model_validate(value, context=WRITTEN, by_alias=True, by_name=False)
    except ValidationError:
        return False
    return True
