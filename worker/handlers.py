"""What users write: functions marked with `@handler`, `@resource` and `@lane`."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
import typing
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args, get_origin, overload

from worker.types import Message

Function = TypeVar("Function", bound=Callable[..., Any])

LEGAL = (
    "a handler is a function or async function whose first parameter is the payload "
    "(dict, dataclass, pydantic model, msgspec struct, bytes, str or Message; with batch=N a list "
    "of one of these), then in any order a Message (by annotation; with batch=N list[Message]) and "
    "resources (by name)"
)


class BadSignature(TypeError):
    """A function cannot be a handler or a resource; the text lists what is legal."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A registered function with what its signature says."""

    name: str
    function: Callable[..., Any]
    payload: Any
    """The type of the payload; for a batch handler that of one item."""
    batch: int | None
    message: str | None
    """The parameter that takes the message, for a batch handler the messages; None without one."""
    resources: tuple[str, ...]
    """The parameters that resources are given to."""
    is_async: bool
    where: str
    """File and line of the function."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A generator function: what it yields is given to handlers, what follows is the tear-down."""

    name: str
    function: Callable[..., Iterator[Any] | AsyncIterator[Any]]
    resources: tuple[str, ...]
    is_async: bool
    where: str


@dataclass(frozen=True, slots=True)
class Lane:
    """A function that says which messages are handled one after the other."""

    name: str
    function: Callable[[Message], str | bytes | None]
    where: str


@dataclass(slots=True)
class Registry:
    """Handlers, resources and lanes by name."""

    handlers: dict[str, Handler] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)
    lanes: dict[str, Lane] = field(default_factory=dict)

    def handler(self, function: Function, *, batch: int | None, name: str | None) -> Function:
        """Register a handler; raises `BadSignature`."""
        made = _handler(function, batch=batch, name=name)
        _refuse_second("handler", made, self.handlers)
        self.handlers[made.name] = made
        return function

    def resource(self, function: Function, *, name: str | None) -> Function:
        """Register a resource; raises `BadSignature`."""
        made = _resource(function, name=name)
        _refuse_second("resource", made, self.resources)
        self.resources[made.name] = made
        return function

    def lane(self, function: Function, *, name: str | None) -> Function:
        """Register a function for lanes; raises `BadSignature`."""
        made = _lane(function, name=name)
        _refuse_second("lane", made, self.lanes)
        self.lanes[made.name] = made
        return function

    def needed(self, names: Sequence[str]) -> list[Resource]:
        """These resources and those they need, each after what it needs.

        Raises `KeyError` with the name that is not registered, and `ValueError` for a cycle.
        """
        order: dict[str, Resource] = {}

        def add(name: str, above: tuple[str, ...]) -> None:
            if name in above:
                raise ValueError(" -> ".join([*above, name]))
            if name in order:
                return
            made = self.resources[name]
            for other in made.resources:
                add(other, (*above, name))
            order[name] = made

        for name in names:
            add(name, ())
        return list(order.values())


REGISTRY = Registry()
"""What `@handler`, `@resource` and `@lane` fill when modules of users are imported."""


@overload
def handler(function: Function, /) -> Function: ...
@overload
def handler(
    *, batch: int | None = None, name: str | None = None
) -> Callable[[Function], Function]: ...
def handler(
    function: Function | None = None, /, *, batch: int | None = None, name: str | None = None
) -> Function | Callable[[Function], Function]:
    """Register a function as a handler under its name, or `name`; it stays a plain function.

    With `batch` it is given lists of up to so many payloads of one partition, and returns None or a
    list with the result of each. Raises `BadSignature` when its signature cannot work.
    """
    if function is not None:
        return REGISTRY.handler(function, batch=batch, name=name)
    return lambda made: REGISTRY.handler(made, batch=batch, name=name)


@overload
def resource(function: Function, /) -> Function: ...
@overload
def resource(*, name: str | None = None) -> Callable[[Function], Function]: ...
def resource(
    function: Function | None = None, /, *, name: str | None = None
) -> Function | Callable[[Function], Function]:
    """Register a generator function, sync or async, that yields once what handlers need.

    It runs before the first poll and is given to every handler with a parameter of its name; what
    follows the yield runs after the last message was handled. Raises `BadSignature`.
    """
    if function is not None:
        return REGISTRY.resource(function, name=name)
    return lambda made: REGISTRY.resource(made, name=name)


@overload
def lane(function: Function, /) -> Function: ...
@overload
def lane(*, name: str | None = None) -> Callable[[Function], Function]: ...
def lane(
    function: Function | None = None, /, *, name: str | None = None
) -> Function | Callable[[Function], Function]:
    """Register a function that says which messages are handled one after the other.

    It is given a `Message` and returns what messages of one lane have in common, a str or bytes, or
    None for a message that shares its lane with no other. The thread that leads the pipeline calls
    it once for each message, so it has to be quick. Raises `BadSignature`.
    """
    if function is not None:
        return REGISTRY.lane(function, name=name)
    return lambda made: REGISTRY.lane(made, name=name)


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """A module of handlers that could not be imported, and why."""

    module: str
    text: str


def load(modules: Sequence[str], path: Sequence[str]) -> list[ImportProblem]:
    """Import modules of users; `path` is appended to `sys.path`, never put first."""
    sys.path.extend(entry for entry in path if entry not in sys.path)
    return [problem for module in modules if (problem := _import(module)) is not None]


def _import(module: str) -> ImportProblem | None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(error.name + ".")):
            return ImportProblem(module, f"no module {module!r} ({_searched(error.name)})")
        return ImportProblem(module, f"cannot be imported: {error}{_place(error)}")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - code of users may raise anything
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        text = said if isinstance(error, BadSignature) else f"{type(error).__name__}: {said}"
        return ImportProblem(module, f"cannot be imported: {text}{_place(error)}")
    return None


def _searched(module: str) -> str:
    """Where a module was looked for: in its package, if that was found, wherever that is."""
    package = sys.modules.get(module.rpartition(".")[0])
    if package is not None:
        places = ", ".join(getattr(package, "__path__", ())) or "which is a module, no package"
        return f"{package.__name__!r} was found: {places}"
    return "looked last in " + ", ".join(entry or "." for entry in sys.path[-3:])


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f" ({error.filename}:{error.lineno})"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and "importlib" not in frame.filename
    ]
    frames = [frame for frame in frames if frame.filename != __file__] or frames
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _handler(function: Callable[..., Any], *, batch: int | None, name: str | None) -> Handler:
    where = _where(function)
    if batch is not None and (type(batch) is not int or batch < 1):
        raise BadSignature(f"{where}: batch={batch!r} must be a whole number from 1")
    if not inspect.isfunction(function) or inspect.isasyncgenfunction(function):
        raise BadSignature(f"{where}: {LEGAL}; async generators are not")
    parameters = _parameters(function, where)
    if not parameters:
        raise BadSignature(f"{where} has no parameter for the payload; {LEGAL}")
    (first, kind), *rest = parameters.items()
    if first in {"self", "cls"}:
        raise BadSignature(
            f"{where} is a method, which nobody can call without its object; {LEGAL}"
        )
    payload = _item(kind, first, where) if batch is not None else kind
    message_kinds = (list[Message], Sequence[Message]) if batch is not None else (Message,)
    takes_message = [name for name, kind in rest if kind in message_kinds]
    for other, kind in rest:
        if other not in takes_message and _names_message(kind):
            raise BadSignature(f"{where}: {other!r} cannot be {_shown(kind)}; {LEGAL}")
    if len(takes_message) > 1:
        raise BadSignature(f"{where} takes the message twice: {', '.join(takes_message)}; {LEGAL}")
    return Handler(
        name=name or function.__name__,
        function=function,
        payload=Message if payload == Message | None else payload,
        batch=batch,
        message=takes_message[0] if takes_message else None,
        resources=tuple(name for name, _ in rest if name not in takes_message),
        is_async=inspect.iscoroutinefunction(function),
        where=where,
    )


def _resource(function: Callable[..., Any], *, name: str | None) -> Resource:
    where = _where(function)
    is_async = inspect.isasyncgenfunction(function)
    if not is_async and not inspect.isgeneratorfunction(function):
        raise BadSignature(
            f"{where}: a resource is a generator function, sync or async, that yields once"
        )
    return Resource(
        name=name or function.__name__,
        function=function,
        resources=tuple(_parameters(function, where)),
        is_async=is_async,
        where=where,
    )


def _lane(function: Callable[..., Any], *, name: str | None) -> Lane:
    where = _where(function)
    legal = "a function for lanes takes a Message and returns a str, bytes or None"
    if not inspect.isfunction(function) or inspect.iscoroutinefunction(function):
        raise BadSignature(f"{where}: {legal}; async functions do not")
    parameters = _parameters(function, where)
    if len(parameters) != 1 or next(iter(parameters.values())) not in (Any, Message):
        raise BadSignature(f"{where}: {legal}")
    return Lane(name or function.__name__, function, where)


def _parameters(function: Callable[..., Any], where: str) -> dict[str, Any]:
    try:
        hints: Mapping[str, Any] = typing.get_type_hints(function)
    except Exception as error:
        raise BadSignature(f"{where}: an annotation cannot be resolved: {error}") from error
    parameters = inspect.signature(function).parameters.values()
    positional: list[str] = []
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise BadSignature(f"{where} has *{parameter.name}; {LEGAL}")
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is parameter.empty:
            positional.append(parameter.name)
    if len(positional) > 1 or (positional and not _is_handler_like(function)):
        raise BadSignature(
            f"{where}: {positional[-1]!r} is positional-only, but is given by its name; {LEGAL}"
        )
    first = next(iter(parameters), None)
    if first is not None and first.kind is first.KEYWORD_ONLY and _is_handler_like(function):
        raise BadSignature(f"{where}: the payload {first.name!r} is keyword-only; {LEGAL}")
    return {
        parameter.name: hints.get(parameter.name, Any)
        for index, parameter in enumerate(parameters)
        if index == 0 or parameter.default is parameter.empty
    }


def _is_handler_like(function: Callable[..., Any]) -> bool:
    return not (inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function))


def _item(kind: Any, parameter: str, where: str) -> Any:
    if kind is Any:
        return Any
    if get_origin(kind) in (list, Sequence) and get_args(kind):
        return get_args(kind)[0]
    if kind is list:
        return Any
    raise BadSignature(f"{where}: with batch=N the parameter {parameter!r} must be a list; {LEGAL}")


def _names_message(kind: Any) -> bool:
    return kind is Message or any(_names_message(part) for part in get_args(kind))


def _shown(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)


def _refuse_second(what: str, made: Handler | Resource | Lane, known: Mapping[str, Any]) -> None:
    other = known.get(made.name)
    if other is not None and other.where != made.where:
        raise BadSignature(
            f"{made.where}: another {what} is named {made.name!r}, at {other.where}; "
            f"give one of them a name: @{what}(name=...)"
        )


def _where(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    name = getattr(function, "__qualname__", repr(function))
    return name if code is None else f"{name} ({code.co_filename}:{code.co_firstlineno})"
