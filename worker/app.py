"""The composition root: the only place where spec, clients, engine and observers meet."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from worker.engine.execute import Executor
from worker.engine.pipeline import PipelineLoop
from worker.engine.pool import AsyncPool, LoopThread, Pool, ThreadPool
from worker.engine.resources import Resources
from worker.engine.results import Results
from worker.engine.runner import POLL_LIMIT, Clients, Job
from worker.engine.topics import KnownTopics
from worker.engine.worker import Worker
from worker.errors import BadConfiguration, ConnectionFailed, TopicsRefused
from worker.flow.health import Snapshot
from worker.flow.retry import OnError
from worker.handlers import REGISTRY, Handler, Registry, load
from worker.http import routes, serve
from worker.kafka import config
from worker.kafka.admin import KafkaAdmin
from worker.kafka.consumer import KafkaConsumer
from worker.kafka.producer import KafkaProducer
from worker.observe.metrics import metrics_text
from worker.observe.stats import stats_json
from worker.observe.tracing import TraceContext
from worker.ports import Admin, Clock, Consumer, Observer, Producer
from worker.serdes import SERDES, Unsuitable, decoder
from worker.settings import Pipeline, TopicSettings
from worker.settings.librdkafka import key_of
from worker.spec import Document
from worker.types import Message, Problem
from worker.version import __version__

ASK_TIMEOUT = 5.0
"""Seconds to wait for an answer about topics; a stop is not noticed meanwhile."""
ASYNC_CONCURRENCY = 1000
"""Async handlers in flight by default; with `ordering: partition` the partitions are the bound."""


@dataclass(frozen=True, slots=True)
class Wrap:
    """Decorators of the ports, by which tests put faults between the engine and its clients."""

    consumer: Callable[[Consumer], Consumer] = lambda consumer: consumer
    producer: Callable[[Producer], Producer] = lambda producer: producer
    admin: Callable[[Admin], Admin] = lambda admin: admin


@dataclass(frozen=True, slots=True)
class Options:
    """How a worker is run, beside its spec."""

    only: Sequence[str] = ()
    """Names of the pipelines to run; all when empty."""
    create_topics: bool = False
    path: Sequence[str] = ()
    """Folders beside the working directory in which modules of handlers are looked for."""
    registry: Registry = field(default_factory=lambda: REGISTRY)
    wrap: Wrap = field(default_factory=Wrap)


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


def build(document: Document, options: Options | None = None) -> Worker:
    """Make the worker of a spec; raises `BadConfiguration`."""
    options = options or Options()
    problems = [*check(document, options), *_unreadable(document)]
    if problems:
        raise BadConfiguration(problems)
    try:
        return _Assembly(document, options).worker()
    except ConnectionFailed as error:  # nobody was asked yet: no client can be made
        key = key_of(error.text) or ("security",)
        raise BadConfiguration([document.problem(("kafka", *key), error.text)]) from error


def make_topics(document: Document, admin: Admin, topics: Mapping[str, TopicSettings]) -> None:
    """Make topics of a spec; raises `BadConfiguration` for those that the cluster refuses."""
    try:
        admin.create(topics)
    except TopicsRefused as error:
        places = _topics(document, list(document.spec.pipelines))
        raise BadConfiguration(
            [
                document.problem(places[topic], f"topic {topic!r} cannot be made: {reason}")
                for topic, reason in error.topics.items()
            ]
        ) from error


class _Assembly:
    """What the pipelines of one worker share while they are put together."""

    def __init__(self, document: Document, options: Options) -> None:
        self._document = document
        self._spec = document.spec
        self._options = options
        self._names = [n for n in self._spec.pipelines if n in options.only or not options.only]
        self._loop = LoopThread()
        self._clock = Clock()
        self._observer: Observer = TraceContext()
        self._admin = options.wrap.admin(
            KafkaAdmin(
                self._spec.kafka, min(ASK_TIMEOUT, self._spec.startup_timeout or ASK_TIMEOUT)
            )
        )
        self._known = KnownTopics(self._admin.describe, self._clock)

    def worker(self) -> Worker:
        pipelines = [self._spec.pipelines[name] for name in self._names]
        handlers = [self._handler(pipeline) for pipeline in pipelines]
        needed = sorted({name for handler in handlers for name in handler.resources})
        return Worker(
            self._spec.name,
            __version__,
            prepare=self._prepare,
            pipelines=lambda resources: [self._pipeline(name, resources) for name in self._names],
            resources=Resources(self._options.registry.needed(needed), self._loop),
            loop=self._loop,
            clock=self._clock,
            drain_timeout=max(pipeline.drain_timeout for pipeline in pipelines),
            startup_timeout=self._spec.startup_timeout,
            serve=self._serve,
        )

    def _serve(self, snapshot: Callable[[], Snapshot]) -> AbstractContextManager[object]:
        server = self._spec.server
        if not server.port:
            return nullcontext()
        return closing(serve(server.host, server.port, routes(snapshot, stats_json, metrics_text)))

    def _handler(self, pipeline: Pipeline) -> Handler:
        return self._options.registry.handlers[pipeline.handler]

    def _prepare(self) -> None:
        """Describe every topic first: a producer would make unknown ones silently."""
        used = _topics(self._document, self._names)
        known = self._admin.describe(list(used))
        missing = [topic for topic in used if topic not in known]
        if missing and self._options.create_topics:
            new = {topic: self._spec.topics.get(topic, TopicSettings()) for topic in missing}
            make_topics(self._document, self._admin, new)
            known = self._admin.describe(list(used))
            missing = [topic for topic in used if topic not in known]
        if missing:
            command = f"worker run {self._document.file} --create-topics"
            raise BadConfiguration(
                [
                    self._document.problem(
                        used[topic], f"topic {topic!r} does not exist; make it with: {command}"
                    )
                    for topic in missing
                ]
            )
        self._known.take(known)

    def _pipeline(self, name: str, resources: Resources) -> PipelineLoop:
        pipeline = self._spec.pipelines[name]
        handler = self._handler(pipeline)
        executor = Executor(
            handler,
            _decoder(pipeline, handler),
            Results(
                SERDES[pipeline.encode].encode,
                pipeline.to,
                self._known.limits,
                self._known.partitions,
                self._observer,
                pipeline.timestamps == "source",
            ),
            _on_error(pipeline),
            resources.values,
        )
        job = Job(
            name,
            self._spec.group(name),
            pipeline.source,
            handler.name,
            pipeline,
            _batch(pipeline, handler) or POLL_LIMIT,
        )
        pool = self._pool(name, pipeline, executor)
        return PipelineLoop(job, self._clients(name), pool, self._clock, self._observer)

    def _pool(self, name: str, pipeline: Pipeline, executor: Executor) -> Pool:
        if executor.handler.is_async:
            size = pipeline.concurrency or ASYNC_CONCURRENCY
            return AsyncPool(self._loop, executor.execute_async, size)
        return ThreadPool(name, executor.execute, pipeline.concurrency or os.cpu_count() or 1)

    def _clients(self, name: str) -> Clients:
        kafka, pipeline, wrap = self._spec.kafka, self._spec.pipelines[name], self._options.wrap
        outputs = [topic for topic in (pipeline.to, *_dead_letter(pipeline)) if topic is not None]

        def consumer() -> Consumer:
            properties = config.consumer(kafka, self._spec.group(name), pipeline)
            return wrap.consumer(KafkaConsumer(properties))

        def producer() -> Producer:
            self._prepare()
            limits = {topic: self._known.limits[topic] for topic in outputs}
            return wrap.producer(KafkaProducer(config.producer(kafka, limits)))

        return Clients(consumer, producer, self._known.limits)


def _topics(document: Document, names: Sequence[str]) -> dict[str, tuple[str | int, ...]]:
    """Every topic that the pipelines read or write, and where the spec names it."""
    spec = document.spec
    topics: dict[str, tuple[str | int, ...]] = {topic: ("topics", topic) for topic in spec.topics}
    for name in names:
        pipeline = spec.pipelines[name]
        here = ("pipelines", name)
        for topic in pipeline.source:
            topics.setdefault(topic, (*here, "from"))
        if pipeline.to is not None:
            topics.setdefault(pipeline.to, (*here, "to"))
        for topic in _dead_letter(pipeline):
            topics.setdefault(topic, (*here, "dead_letter"))
    return topics


def _unreadable(document: Document) -> list[Problem]:
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
        _decoder(pipeline, handler)
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


def _decoder(pipeline: Pipeline, handler: Handler) -> Callable[[bytes | None], object] | None:
    if handler.payload is Message:
        return None
    return decoder(SERDES[pipeline.decode], handler.payload)


def _batch(pipeline: Pipeline, handler: Handler) -> int | None:
    return pipeline.batch or handler.batch


def _on_error(pipeline: Pipeline) -> OnError:
    return "dead_letter" if pipeline.dead_letter is not None else pipeline.on_error or "stop"


def _dead_letter(pipeline: Pipeline) -> list[str]:
    return [] if pipeline.dead_letter is None else [pipeline.dead_letter.default]
