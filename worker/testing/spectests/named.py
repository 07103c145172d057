"""What files of tests name: exceptions, and things in modules of users."""

from __future__ import annotations

import builtins
from importlib import import_module
from typing import Any

from worker import errors


class Unknown(Exception):
    """Nothing has this name; the text says where was looked."""


def thing(name: str) -> Any:
    """What a dotted name means: a module, then names in it; raises `Unknown`."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        module = ".".join(parts[:length])
        try:
            found = import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise Unknown(f"{module!r} cannot be imported: {error}") from error
            continue
        except Exception as error:
            text = f"{module!r} cannot be imported: {type(error).__name__}: {error}"
            raise Unknown(text) from error
        return _inside(found, module, parts[length:])
    raise Unknown(f"no module {parts[0]!r}; it is looked for from the working directory on")


def exception(name: str, text: str | None) -> BaseException:
    """An exception by its name: one of Python, of `worker`, or as `module.Name`; raises `Unknown`.

    It says `text`, if any.
    """
    kind = _kind(name)
    try:
        return kind() if text is None else kind(text)
    except Exception as error:
        given = "without `text`" if text is None else f"of the text {text!r}"
        raise Unknown(f"{name} cannot be made {given}: {error}") from error


def _kind(name: str) -> type[BaseException]:
    kind = getattr(builtins, name, getattr(errors, name, None))
    if kind is None and "." not in name:
        raise Unknown(f"no exception of Python or worker is named {name!r}; legal is module.Name")
    found: object = kind or thing(name)
    if isinstance(found, type) and issubclass(found, BaseException):
        return found
    raise Unknown(f"{name!r} is no exception")


def _inside(found: Any, where: str, names: list[str]) -> Any:
    for name in names:
        if not hasattr(found, name):
            raise Unknown(f"{where!r} has no {name!r}")
        found, where = getattr(found, name), f"{where}.{name}"
    return found
