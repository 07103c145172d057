"""Spec, clients, engine and observers, put together."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from uuid import uuid4

from worker.app.checks import check, unknown_exceptions, unreadable
from worker.app.endpoint import endpoint
from worker.app.execution import Recipe, executor_of
from worker.app.lanes import lanes_of, tier_lanes_of
from worker.app.options import Options
from worker.app.retrytopics import (
    leftovers,
    make_retry_topics,
    sources_of,
    too_few_partitions,
    unfit,
)
from worker.app.rights import forbidden, not_exactly_once, unjoinable
from worker.app.topics import absent, named_topics
from worker.app.wanted import fence_of, made_as, redrive_of, tiers_of
from worker.engine.breaker import Breaker
from worker.engine.ends import LogEnds
from worker.engine.floor import Floor
from worker.engine.job import Clients, Job
from worker.engine.partition import POLL_LIMIT
from worker.engine.pipeline import PipelineLoop
from worker.engine.pool import AsyncPool, LoopThread, Pool
from worker.engine.processes import LONGEST, ProcessPool
from worker.engine.resources import Resources
from worker.engine.threads import ThreadPool, Watch
from worker.engine.topics import KnownTopics
from worker.engine.worker import Worker
from worker.errors import (
    BadConfiguration,
    BrokersUnreachable,
    ClientError,
    ConnectionFailed,
    TopicsRefused,
)
from worker.flow.health import Snapshot
from worker.handlers import Handler
from worker.kafka import config
from worker.kafka.admin import KafkaAdmin
from worker.kafka.consumer import KafkaConsumer
from worker.kafka.producer import KafkaProducer
from worker.kafka.questions import holder
from worker.kafka.table import KafkaTable
from worker.kafka.transactional import KafkaTransactional
from worker.kafka.versions import require_fencing
from worker.observe.tracing import Facts, tracers
from worker.ports import Admin, Clock, Consumer, Producer, Transactional
from worker.settings import Pipeline, TopicSettings
from worker.settings.librdkafka import key_of
from worker.settings.patterns import unmatched
from worker.spec import Document, in_order
from worker.types import Problem
from worker.version import __version__

log = logging.getLogger(__name__)

ASK_TIMEOUT = 5.0
"""Seconds to wait for an answer about topics; a stop is not noticed meanwhile."""
ASYNC_CONCURRENCY = 1000
"""Async handlers in flight by default; with `ordering: partition` the partitions are the bound."""


def build(document: Document, options: Options | None = None) -> Worker:
    """Make the worker of a spec, with a warning of what is unsafe; raises `BadConfiguration`."""
    options = options or Options()
    problems = [*check(document, options), *unreadable(document)]
    if problems:
        raise BadConfiguration(problems)
    if not options.process:  # of several processes the first speaks for all
        warnings = (*config.warnings(document.spec.kafka), *unknown_exceptions(document.spec))
        for warning in warnings:
            log.warning("%s", warning)
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
        places = named_topics(document, list(document.spec.pipelines))
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
        self._breakers: dict[str, Breaker] = {}
        self._watch = Watch()
        self._floor = Floor()
        self._clock = Clock()
        self._tracers = tracers(self._spec.name)
        self._watching = {name: self._tracers.watching(self._facts(name)) for name in self._names}
        self._admin = options.wrap.admin(
            KafkaAdmin(
                self._spec.kafka, min(ASK_TIMEOUT, self._spec.startup_timeout or ASK_TIMEOUT)
            )
        )
        self._instance = uuid4().hex
        """Of pipelines that do not say theirs."""
        self._there: Sequence[str] = ()
        self._redriven: Mapping[str, str] = {}
        self._known = KnownTopics(self._admin.describe, self._clock)
        self._log_ends = LogEnds(self._admin.ends, self._clock)

    def worker(self) -> Worker:
        pipelines = [self._spec.pipelines[name] for name in self._names]
        handlers = [self._handler(pipeline) for pipeline in pipelines]
        needed = sorted(
            {
                name
                for pipeline, handler in zip(pipelines, handlers, strict=True)
                if pipeline.pool != "process"  # each process sets its own up
                for name in handler.resources
            }
        )
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
            close=self._tracers.close,
        )

    @contextmanager
    def _serve(self, snapshot: Callable[[], Snapshot]) -> Iterator[None]:
        """What goes on beside the pipelines; one of several processes has no endpoint."""
        show = endpoint(self._spec, self._clock)
        shown = show(snapshot) if self._options.process is None else nullcontext()
        with self._log_ends.asking(), shown:
            yield

    def _handler(self, pipeline: Pipeline) -> Handler:
        return self._options.registry.handlers[pipeline.handler]

    def _prepare(self) -> None:
        """Describe every topic first: a producer would make unknown ones silently."""
        problems = self._learn(self._names)
        allowed = self._admin.allowed(map(self._spec.group, self._names))
        problems += unjoinable(self._document, self._names, allowed)
        if problems:
            raise BadConfiguration(in_order(problems))
        self._there = self._admin.names()
        self._redriven = self._made_redrive_topics()
        self._prepare_retry_topics()
        self._try_transactions()
        for name in self._names:
            for pattern in unmatched(self._spec.pipelines[name].source, self._there):
                log.warning("%s: no topic matches %s yet", name, pattern)

    def _made_redrive_topics(self) -> dict[str, str]:
        """By pipeline the topic of redriven dead letters, made where it is missing and may be."""
        redriven = {name: redrive_of(self._spec, name) for name in self._names}
        topics = {name: topic for name, topic in redriven.items() if topic is not None}
        try:
            self._admin.create({topic: made_as(self._spec, topic) for topic in topics.values()})
        except TopicsRefused as error:
            log.warning("redriven dead letters are not read: %s; make them and start again", error)
            return {name: topic for name, topic in topics.items() if topic not in error.topics}
        return topics

    def _prepare_retry_topics(self) -> None:
        """Make those that are missing; raises `BadConfiguration` for what is wrong with any."""
        document, admin, names, there = self._document, self._admin, self._names, self._there
        sources = sources_of(self._spec, admin, names, there)
        known, problems = make_retry_topics(document, admin, sources)
        problems += too_few_partitions(document, sources, known)
        problems += unfit(document, names, known)
        problems += leftovers(document, admin, names, there)
        problems += forbidden(document, names, known)
        if problems:
            raise BadConfiguration(problems)
        self._known.take(known)

    def _try_transactions(self) -> None:
        """Begin to be who is to write in transactions, which says what is in the way of that.

        Not where another process is, which that would shut out: the group is to decide.
        """
        pipelines = self._spec.pipelines
        names = [name for name in self._names if pipelines[name].delivery == "exactly_once"]
        if names:
            self._require_fencing(names)
        problems = []
        for name in names:
            if self._has_owner(name):
                continue
            producer = self._transactional(name, alone=False)
            try:
                producer.take_over(ASK_TIMEOUT)
            except ClientError as error:
                if error.retriable:
                    raise BrokersUnreachable(f"{name}: no transaction yet: {error}") from error
                problems.append(not_exactly_once(self._document, name, error))
            finally:
                producer.close(0.0)
        if problems:
            raise BadConfiguration(problems)

    def _has_owner(self, name: str) -> bool:
        """Whether a member of the group has the instance of a pipeline, as far as that is told."""
        if self._spec.pipelines[name].instance is None:
            return False
        try:
            return holder(self._consumer_properties(name), log, ASK_TIMEOUT) is not None
        except ClientError:
            return False

    def _require_fencing(self, names: Sequence[str]) -> None:
        try:
            require_fencing(self._spec.kafka, ASK_TIMEOUT)
        except ClientError as error:
            if error.retriable:
                raise BrokersUnreachable(str(error)) from error
            here = [("pipelines", name, "delivery") for name in names]
            problems = [self._document.problem(one, f"exactly_once; {error}") for one in here]
            raise BadConfiguration(problems) from error

    def _transactional(self, name: str, *, alone: bool) -> KafkaTransactional:
        pipeline, limits = self._spec.pipelines[name], self._known.limits
        instance = pipeline.instance or self._instance
        identity = config.identity(self._spec.group(name), instance, self._options.process or 0)
        timeout = pipeline.transaction.timeout
        properties = config.transactional(self._spec.kafka, limits, identity, timeout)
        return KafkaTransactional(config.alone(properties) if alone else properties)

    def _describe_retry_topics(self, name: str) -> None:
        """Learn anew what is known of those of a pipeline; one that is gone is made again."""
        sources = sources_of(self._spec, self._admin, [name], self._there)
        known, problems = make_retry_topics(self._document, self._admin, sources)
        if problems:
            raise BadConfiguration(problems)
        self._known.take(known)

    def _describe(self, names: Sequence[str]) -> None:
        """Learn what these pipelines need to know of topics; raises `BadConfiguration`."""
        problems = self._learn(names)
        if problems:
            raise BadConfiguration(problems)

    def _learn(self, names: Sequence[str]) -> list[Problem]:
        """Learn it, and what is wrong with topics that these pipelines read or write."""
        used = named_topics(self._document, names)
        known = self._admin.describe(list(used))
        missing = [topic for topic in used if topic not in known]
        if missing and self._options.create_topics:
            new = {topic: made_as(self._spec, topic) for topic in missing}
            make_topics(self._document, self._admin, new)
            known = self._admin.describe(list(used))
            missing = [topic for topic in used if topic not in known]
        problems = absent(self._document, used, missing)
        problems += forbidden(self._document, names, known)
        self._known.take(known)
        return problems

    def _pipeline(self, name: str, resources: Resources) -> PipelineLoop:
        pipeline = self._spec.pipelines[name]
        handler = self._handler(pipeline)
        tiers = tiers_of(self._spec, name)
        own = [self._redriven[name]] if name in self._redriven else []
        own += [tier.topic for tier in tiers]
        job = Job(
            name,
            self._spec.group(name),
            [*dict.fromkeys([*pipeline.source, *own])],
            handler.name,
            pipeline,
            _run_limit(pipeline, handler),
            [topic for topic in self._there if topic not in own],
            lanes_of(pipeline, self._options.registry),
            None if pipeline.rate_limit is None else pipeline.rate_limit.pipeline,
            self._floor,
            None if handler.is_async else partial(self._apart, name, pipeline, handler),
            breaker=self._breaker(pipeline),
            tiers=tiers,
            tier_lanes=tier_lanes_of(pipeline, self._options.registry),
            fence=fence_of(self._spec, name),
            may_be_silent=self._spec.kafka.may_be_silent,
            max_wait=self._spec.kafka.consumer.max_wait,
        )
        pool = self._pool(name, pipeline, handler, resources)
        return PipelineLoop(
            job, self._clients(name), pool, self._clock, self._watching[name].observer
        )

    def _facts(self, name: str) -> Facts:
        kafka, pipeline = self._spec.kafka, self._spec.pipelines[name]
        return Facts(
            name,
            self._spec.group(name),
            pipeline.handler,
            kafka.client_id,
            tuple(kafka.brokers),
            self._spec.tracing.incoming,
            self._spec.tracing.limit,
        )

    def _breaker(self, pipeline: Pipeline) -> Breaker | None:
        """That of the name, which all pipelines share that have it."""
        settings = pipeline.breaker
        if settings is None:
            return None
        return self._breakers.setdefault(settings.name, Breaker(settings))

    def _pool(self, name: str, pipeline: Pipeline, handler: Handler, resources: Resources) -> Pool:
        if pipeline.pool == "process":
            return self._process_pool(name, pipeline, handler, _cores(pipeline))
        executor = executor_of(
            name,
            pipeline,
            handler,
            self._known.limits,
            self._known.partitions,
            self._watching[name].observer,
            resources.values,
        )
        if handler.is_async:
            size = pipeline.concurrency or ASYNC_CONCURRENCY
            return AsyncPool(name, self._loop, executor.execute_async, size)
        return ThreadPool(name, executor.execute, _cores(pipeline), self._watch)

    def _apart(self, name: str, pipeline: Pipeline, handler: Handler) -> Pool:
        """One process, for messages that may have ended the worker."""
        return self._process_pool(name, pipeline, handler, 1, "-apart")

    def _process_pool(
        self, name: str, pipeline: Pipeline, handler: Handler, size: int, suffix: str = ""
    ) -> Pool:
        options = self._options
        path = (os.getcwd(), *options.path)  # noqa: PTH109 - sys.path
        return ProcessPool(
            name + suffix,
            Recipe(
                tuple(self._spec.handlers),
                path,
                pipeline,
                self._facts(name),
                self._spec.name,
                options.prepare,
            ),
            self._known,
            size,
            batch=None if handler.batch is None else _run_limit(pipeline, handler),
            retry=pipeline.retry,
            timeout=pipeline.timeout,
            breaker=pipeline.breaker,
            observer=self._watching[name].observer,
        )

    def _consumer_properties(self, name: str) -> config.Properties:
        pipeline, process = self._spec.pipelines[name], self._options.process or 0
        return config.consumer(self._spec.kafka, self._spec.group(name), pipeline, process)

    def _clients(self, name: str) -> Clients:
        kafka, pipeline, wrap = self._spec.kafka, self._spec.pipelines[name], self._options.wrap
        watching = self._watching[name]

        def consumer() -> Consumer:
            properties = self._consumer_properties(name)
            return watching.consumer(wrap.consumer(KafkaConsumer(properties)))

        def producer(*, alone: bool) -> Producer:
            # Records may name any topic of the spec, so batches have to fit into all of them.
            self._describe([name])
            self._describe_retry_topics(name)
            properties = config.producer(kafka, self._known.limits)
            return wrap.producer(KafkaProducer(config.alone(properties) if alone else properties))

        def transactional(*, alone: bool) -> Transactional:
            self._describe([name])
            self._describe_retry_topics(name)
            return watching.transactional(
                wrap.transactional(self._transactional(name, alone=alone))
            )

        return Clients(
            consumer,
            producer,
            self._known.limits,
            self._log_ends,
            self._known.numbers,
            partial(KafkaTable, kafka, self._spec.group(name)),
            transactional if pipeline.delivery == "exactly_once" else None,
        )


def _cores(pipeline: Pipeline) -> int:
    return pipeline.concurrency or os.cpu_count() or 1


def _run_limit(pipeline: Pipeline, handler: Handler) -> int:
    """The batch; else all that there is, unless messages may be handled beside each other.

    Even these go to processes together: a crossing for each would cost more than many handlers.
    """
    if handler.batch is not None:
        return pipeline.batch or handler.batch
    if pipeline.pool == "process":
        return LONGEST
    return POLL_LIMIT if pipeline.ordering == "partition" else 1
