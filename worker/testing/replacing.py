"""Resources that are replaced for tests."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from worker.handlers import Registry


def with_resources(registry: Registry, resources: Mapping[str, Any]) -> Registry:
    """The same with other resources under these names.

    A generator function, sync or async, is set up and torn down as a resource is; anything else is
    given to handlers as it is. Raises `BadSignature`.
    """
    replaced = Registry()
    for name, made in resources.items():
        replaced.resource(made if is_resource(made) else _given(made), name=name)
    return replace(registry, resources={**registry.resources, **replaced.resources})


def is_resource(made: Any) -> bool:
    """Whether something yields what handlers are to be given."""
    return inspect.isgeneratorfunction(made) or inspect.isasyncgenfunction(made)


def _given(value: Any) -> Any:
    def resource() -> Iterator[Any]:
        yield value

    return resource
