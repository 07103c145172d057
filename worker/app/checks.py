"""What is wrong with a spec beyond its text."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from worker.app.execution import decoder_of
from worker.app.options import Options
from worker.errors import BadConfiguration, ConnectionFailed
from worker.flow.deadletter import REASONS
from worker.flow.retry import names_of
from worker.handlers import Handler, Registry
from worker.handlers import load as load_modules
from worker.serdes import Unsuitable
from worker.settings import Pipeline, Spec
from worker.settings.librdkafka import key_of
from worker.spec import Document, in_order, survey
from worker.spec.files import opened
from worker.types import Problem

HEADER = "headers."
"""Before the name of the header that a pipeline's `lane` is taken from."""

Check = Callable[[Document], Iterable[Problem]]


def load(file: Path, environ: Mapping[str, str], options: Options, *others: Check) -> Document:
    """Load a spec that can be run; raises `BadConfiguration` with every problem of any kind."""
    document, problems = survey(file, environ)
    if document is not None:
        problems += check(document, options)
        problems += [problem for other in others for problem in other(document)]
    if document is None or problems:
        raise BadConfiguration(in_order(problems))
    return document


def check(document: Document, options: Options | None = None) -> list[Problem]:
    """Everything that is wrong with a spec beyond its text: modules, handlers, types, resources."""
    options = options or Options()
    unimportable = _unimportable(document, options)
    all_known = not unimportable and not document.lacks("handlers")
    problems = [*unimportable, *_unknown_pipelines(document, options.only)]
    for name, pipeline in document.spec.pipelines.items():
        if document.lacks("pipelines", name, "handler"):
            continue
        handler = options.registry.handlers.get(pipeline.handler)
        if handler is not None:
            problems += _misfits(document, name, pipeline, handler)
        if all_known:
            problems += _unknown(document, name, pipeline, options.registry)
            problems += _unknown_lane(document, name, pipeline, options.registry)
    return in_order(problems)


def _unimportable(document: Document, options: Options) -> list[Problem]:
    written = document.tree.value.get("handlers")
    modules = [module for module in document.spec.handlers if module in (written or ())]
    return [
        document.problem(("handlers", document.spec.handlers.index(failed.module)), failed.text)
        for failed in load_modules(modules, [os.getcwd(), *options.path])  # noqa: PTH109 - sys.path
    ]


def unreadable(document: Document) -> list[Problem]:
    """Files of `kafka.security` that cannot be read here, which is where the pipelines run."""
    security = document.spec.kafka.security
    files = {
        ("ca",): security.ca,
        ("certificate",): security.certificate,
        ("key",): security.key,
        ("oauth", "ca"): None if security.oauth is None else security.oauth.ca,
    }
    return [
        document.problem(("kafka", "security", *key), f"{file!r} cannot be read: {reason}")
        for key, file in files.items()
        if file is not None and (reason := _why_unreadable(Path(file))) is not None
    ]


def _why_unreadable(file: Path) -> str | None:
    try:
        if not file.is_dir():
            opened(file).close()
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:
        return str(error)
    return None


def no_client(document: Document, error: ConnectionFailed) -> BadConfiguration:
    """What is wrong with a spec of whose `kafka` no client can be made; nobody was asked yet."""
    key = key_of(error.text) or ("security",)
    return BadConfiguration([document.problem(("kafka", *key), error.text)])


def unknown_exceptions(spec: Spec) -> Iterator[str]:
    """A warning of each name in `retry`, `breaker` or `dead_letter` that no exception has so far.

    It is no mistake for sure: a module may be imported later.
    """
    known = {name for kind in _kinds(BaseException) for name in names_of(kind)}
    for name, pipeline in spec.pipelines.items():
        retry, breaker, target = pipeline.retry, pipeline.breaker, pipeline.dead_letter
        named = [("retry", one) for one in (*(retry.on or ()), *retry.give_up_on)]
        named += [("breaker", one) for one in (breaker.on or () if breaker else ())]
        for key, wanted in named:
            if wanted not in known:
                what = f"no exception is named {wanted!r} so far{_hint(wanted, known)}"
                yield f"pipelines.{name}.{key}: {what}"
        for wanted in () if target is None else target.by:
            if wanted not in known | REASONS:
                what = f"no exception and no reason is named {wanted!r} so far"
                hint = _hint(wanted, known | REASONS)
                yield f"pipelines.{name}.dead_letter.by: {what}{hint}"


def _hint(wanted: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(wanted, known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _kinds(base: type[BaseException]) -> Iterator[type[BaseException]]:
    yield base
    for kind in base.__subclasses__():
        yield from _kinds(kind)


def _misfits(document: Document, name: str, pipeline: Pipeline, handler: Handler) -> list[Problem]:
    here = ("pipelines", name)
    problems = []
    try:
        decoder_of(pipeline, handler)
    except Unsuitable as error:
        text = f"{handler.where} cannot take the payload: {error}"
        problems.append(document.problem((*here, "handler"), text))
    if pipeline.ordering == "key" and handler.batch is not None:
        text = f"{handler.where} takes batches, which hold many keys; legal is partition or none"
        problems.append(document.problem((*here, "ordering"), text))
    if pipeline.pool is not None:
        unfit = _unfit(pipeline.pool, handler)
        problems += [document.problem((*here, "pool"), text) for text in unfit]
    if pipeline.batch is not None and handler.batch is None:
        text = f"{handler.where} takes one message; mark it with @handler(batch=...) for batches"
        problems.append(document.problem((*here, "batch"), text))
    return problems


def _unfit(pool: str, handler: Handler) -> Iterator[str]:
    """Why a handler cannot run in such a pool."""
    if handler.is_async and pool != "asyncio":
        yield f"{pool}; {handler.where} is async; legal is asyncio"
    elif not handler.is_async and pool == "asyncio":
        yield f"asyncio; {handler.where} is not async; legal are thread and process"
    elif pool == "process" and not _is_importable(handler.function.__module__):
        yield (
            f"process; {handler.where} is in {handler.function.__module__!r}, which no other "
            "process can import; put it into a module that `handlers` names"
        )


def _is_importable(module: str) -> bool:
    try:
        return module != "__main__" and find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _unknown(
    document: Document, name: str, pipeline: Pipeline, registry: Registry
) -> list[Problem]:
    """The handler, or a resource that it needs, when no module has it."""
    handler = registry.handlers.get(pipeline.handler)
    if handler is None:
        text = _not_found("handler", pipeline.handler, registry.handlers)
    else:
        try:
            registry.needed(handler.resources)
            return []
        except KeyError as error:
            text = _not_found("resource", str(error.args[0]), registry.resources)
            text = f"{handler.where} needs a parameter: {text}"
        except ValueError as error:
            text = f"{handler.where}: resources need each other in a circle: {error}"
    return [document.problem(("pipelines", name, "handler"), text)]


def _unknown_lane(
    document: Document, name: str, pipeline: Pipeline, registry: Registry
) -> list[Problem]:
    lane = pipeline.lane
    if lane == "key" or lane.startswith(HEADER) or lane in registry.lanes:
        return []
    text = f"{_not_found('lane', lane, registry.lanes)}; legal are key and {HEADER}NAME, too"
    return [document.problem(("pipelines", name, "lane"), text)]


def _unknown_pipelines(document: Document, names: Sequence[str]) -> list[Problem]:
    known = document.spec.pipelines
    return [
        document.problem(("pipelines",), "--only: " + _not_found("pipeline", name, known))
        for name in names
        if name not in known and not document.lacks("pipelines", name)
    ]


def _not_found(what: str, name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(sorted(known))}"
    return f"no {what} is named {name!r}; {hint if known else f'there is no {what} at all'}"
