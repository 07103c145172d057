"""pydantic's errors as sentences that name what is wrong and what is legal."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from worker.settings import KafkaSettings, PartProblem, Pipeline, Spec
from worker.spec.models import fields, holds_secret, model_at
from worker.spec.tree import KeyPath, Tree, printable
from worker.spec.units import united

LATER: Final = {
    "key_decode": "decoding of keys",
}
"""Keys that a later version brings."""

_KINDS: Final = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}

_BOUNDS: Final = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
}


def sentence(
    model: type[BaseModel], path: KeyPath, errors: Sequence[ErrorDetails], tree: Tree
) -> str:
    """What is wrong at `path`, to which all the errors belong; a secret is never part of it."""
    owner = model_at(model, path[:-1])
    error = errors[0]
    if error["type"] == "missing":
        return "is missing" + _meaning(owner, path)
    if error["type"] == "extra_forbidden":
        return _unknown_key(owner, str(path[-1]))
    value = path[-1] if error["loc"][-1:] == ("[key]",) else tree.at(path)
    secret = tree.holds_secret(path) or holds_secret(owner, path)
    hidden = secret and not isinstance(value, (dict, list))
    shown = "the value" if hidden else _shown(value)
    cause = error.get("ctx", {}).get("error")
    if secret and isinstance(cause, PartProblem):
        return f"the value {cause.words}"
    if all(one["type"] in _KINDS for one in errors):
        return _wrong_kind(shown, value, errors, hidden=hidden)
    return _not_legal(shown, value, error)


def misspelt(owner: type[BaseModel] | None, key: str) -> str | None:
    """The key that was probably meant; None where no key is near."""
    return next(iter(difflib.get_close_matches(key, sorted(fields(owner)), 1)), None)


def _shown(value: Any) -> str:
    """A value as it was written, so far as it fits; never what stands inside of another."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    return printable(repr(value), 80)


def _wrong_kind(shown: str, value: Any, errors: Sequence[ErrorDetails], *, hidden: bool) -> str:
    legal = " or ".join(dict.fromkeys(_KINDS[error["type"]] for error in errors))
    if value is None:
        return f"has no value; legal is {legal}"
    hint = "; put it in quotes" if hidden and legal == "a text" else ""
    return f"{shown} is not {legal}{hint}"


def _not_legal(shown: str, value: Any, error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "literal_error":
        return _not_one_of(shown, value, context["expected"])
    if kind == "value_error":
        return _in_our_words(shown, value, str(context["error"]))
    if kind == "string_pattern_mismatch":
        return (
            f"{shown} is not legal; legal are letters, digits, '.', '_' and '-', "
            "100 at most, a letter or a digit first"
        )
    if kind in {"too_short", "string_too_short"}:
        return "is empty; at least one is needed"
    if kind == "too_long":
        return f"{shown} is too long; legal are {context['max_length']} items at most"
    if kind == "string_too_long":
        return f"{shown} is too long; legal are {context['max_length']} characters at most"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        bound = united(context[name]) if isinstance(value, str) else context[name]
        return f"{shown} is out of range; legal is {words} {bound}"
    return f"{shown} is not legal: {error['msg']}"


def _in_our_words(shown: str, value: Any, text: str) -> str:
    """The text of a validator of ours, which begins with the value where it names it."""
    if value is None:
        return text.replace("None is not", "has no value; legal is", 1)
    if text.startswith(repr(value)):
        return shown + text.removeprefix(repr(value))
    return text


def _meaning(owner: type[BaseModel] | None, path: KeyPath) -> str:
    found = fields(owner).get(str(path[-1]))
    return f": {found.description}" if found is not None and found.description else ""


def _unknown_key(owner: type[BaseModel] | None, key: str) -> str:
    if key in LATER and owner in (Spec, KafkaSettings, Pipeline):
        return f"{LATER[key]} are not supported yet"
    meant = misspelt(owner, key)
    if meant is not None:
        return f"no such key; did you mean `{meant}`?"
    return f"no such key; legal are {', '.join(sorted(fields(owner)))}"


def _not_one_of(shown: str, value: Any, expected: str) -> str:
    if value is None:
        return f"has no value; legal {'are' if ' or ' in expected else 'is'} {expected}"
    return f"{shown} is not legal; legal {'are' if ' or ' in expected else 'is'} {expected}"
