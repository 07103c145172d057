"""What is wrong with a spec beyond its text."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from worker.app.options import Options
from worker.handlers import Handler, Registry, load
from worker.serdes import SERDES, Unsuitable, decoder
from worker.settings import Pipeline
from worker.spec import Document
from worker.types import Message, Problem


def check(document: Document, options: Options | None = None) -> list[Problem]:
    """Everything that is wrong with a spec beyond its text: modules, handlers, types, resources."""
    options = options or Options()
    spec = document.spec
    problems = [
        document.problem(("handlers", spec.handlers.index(failed.module)), failed.text)
        for failed in load(spec.handlers, [os.getcwd(), *options.path])  # noqa: PTH109 - sys.path
    ]
    if problems:
        return problems
    problems += _unknown(document, "pipelines", options.only, spec.pipelines)
    for name, pipeline in spec.pipelines.items():
        handler = options.registry.handlers.get(pipeline.handler)
        if handler is None:
            text = _not_found("handler", pipeline.handler, options.registry.handlers)
            problems.append(document.problem(("pipelines", name, "handler"), text))
        else:
            problems += _misfits(document, name, pipeline, handler, options.registry)
    return problems


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
            file.open("rb").close()
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:
        return str(error)
    return None


def _misfits(
    document: Document, name: str, pipeline: Pipeline, handler: Handler, registry: Registry
) -> list[Problem]:
    here = ("pipelines", name)
    problems = []
    try:
        decoder_of(pipeline, handler)
    except Unsuitable as error:
        text = f"{handler.where} cannot take the payload: {error}"
        problems.append(document.problem((*here, "handler"), text))
    if pipeline.batch is not None and handler.batch is None:
        text = f"{handler.where} takes one message; mark it with @handler(batch=...) for batches"
        problems.append(document.problem((*here, "batch"), text))
    try:
        registry.needed(handler.resources)
    except KeyError as error:
        text = _not_found("resource", str(error.args[0]), registry.resources)
        problems.append(
            document.problem((*here, "handler"), f"{handler.where} needs a parameter: {text}")
        )
    except ValueError as error:
        text = f"{handler.where}: resources need each other in a circle: {error}"
        problems.append(document.problem((*here, "handler"), text))
    return problems


def _unknown(
    document: Document, path: str, names: Sequence[str], known: Mapping[str, object]
) -> list[Problem]:
    return [
        document.problem((path,), "--only: " + _not_found("pipeline", name, known))
        for name in names
        if name not in known
    ]


def _not_found(what: str, name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(sorted(known))}"
    return f"no {what} is named {name!r}; {hint if known else f'there is no {what} at all'}"


def decoder_of(pipeline: Pipeline, handler: Handler) -> Callable[[bytes | None], object] | None:
    """What makes a handler's payload; None where it takes the message. Raises `Unsuitable`."""
    if handler.payload is Message:
        return None
    return decoder(SERDES[pipeline.decode], handler.payload)
