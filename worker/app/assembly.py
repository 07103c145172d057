"""Spec, clients, engine and observers, put together."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

from worker.app.checks import check, no_client, unknown_exceptions, unreadable
from worker.app.endpoint import endpoint
from worker.app.execution import Recipe, executor_of
from worker.app.lanes import lanes_of, tier_lanes_of
from worker.app.options import Options
from worker.app.pools import Handled
from worker.app.retrytopics import (
    leftovers,
    make_retry_topics,
    sources_of,
    too_few_partitions,
    unfit,
)
from worker.app.rights import forbidden, not_exactly_once, unjoinable
from worker.app.topics import Path, absent, named_topics, own_topics
from worker.app.wanted import fence_of, made_as, redrive_of, tiers_of
from worker.engine.breaker import Breaker
from worker.engine.ends import LogEnds
from worker.engine.execute import Executor
from worker.engine.floor import Floor
from worker.engine.job import Clients, Job
from worker.engine.pipeline import PipelineLoop
from worker.engine.pool import LoopThread
from worker.engine.resources import Resources
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
from worker.flow.redaction import Redaction
from worker.handlers import Handler
from worker.kafka import config
from worker.observe.tracing import Facts, tracers
from worker.ports import Admin, Consumer, Producer, Transactional
from worker.settings import Pipeline, TopicSettings
from worker.settings.patterns import unmatched
from worker.settings.secrets import secrets_of
from worker.spec import Document, in_order
from worker.types import Problem
from worker.version import __version__

log = logging.getLogger(__name__)

ASK_TIMEOUT = 5.0
"""Seconds to wait for an answer about topics; a stop is not noticed meanwhile."""


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
        return Assembly(document, options).worker()
    except ConnectionFailed as error:
        raise no_client(document, error) from error


def make_topics(document: Document, admin: Admin, topics: Mapping[str, TopicSettings]) -> None:
    """Make topics of a spec; raises `BadConfiguration` for those that the cluster refuses."""
    try:
        admin.create(topics)
    except TopicsRefused as error:
        places = named_topics(document, list(document.spec.pipelines))
        problems = [
            document.problem(places[topic], f"topic {topic!r} cannot be made: {reason}")
            for topic, reason in error.topics.items()
        ]
        raise BadConfiguration(in_order(problems)) from error


class Assembly:
    """What the pipelines of one worker share while they are put together."""

    def __init__(self, document: Document, options: Options) -> None:
        self._document = document
        self._spec = document.spec
        self._options = options
        self._names = [n for n in self._spec.pipelines if n in options.only or not options.only]
        self.loop = LoopThread()
        self._breakers: dict[str, Breaker] = {}
        self._floor = Floor(options.name)
        self._clock = options.clock
        self._redacted = Redaction(secrets_of(self._spec))
        self._tracers = tracers(self._spec.name)
        self._watching = {name: self._tracers.watching(self._facts(name)) for name in self._names}
        self._supplier = options.clients(self._spec.kafka, options.process or 0)
        patience = min(ASK_TIMEOUT, self._spec.startup_timeout or ASK_TIMEOUT)
        self._admin = options.wrap.admin(self._supplier.admin(patience))
        self._there: Sequence[str] = ()
        self._redriven: Mapping[str, str] = {}
        self._known = KnownTopics(self._admin.describe, self._clock)
        self._log_ends = LogEnds(self._admin.ends, self._clock)
        self._pools = options.pools(self.loop, self._known)

    def worker(self) -> Worker:
        """Make the worker."""
        pipelines = [self._spec.pipelines[name] for name in self._names]
        return Worker(
            self._spec.name,
            __version__,
            prepare=self.prepare,
            pipelines=self.pipelines,
            resources=self.resources(),
            loop=self.loop,
            clock=self._clock,
            drain_timeout=max(pipeline.drain_timeout for pipeline in pipelines),
            startup_timeout=self._spec.startup_timeout,
            serve=self._serve,
            close=self.close,
            redacted=self._redacted,
        )

    def resources(self) -> Resources:
        """Make what the handlers of this process need."""
        pipelines = [self._spec.pipelines[name] for name in self._names]
        needed = {
            name
            for pipeline in pipelines
            if self._pools.shares_resources(pipeline)
            for name in self._handler(pipeline).resources
        }
        return Resources(self._options.registry.needed(sorted(needed)), self.loop)

    def pipelines(self, resources: Resources) -> list[PipelineLoop]:
        """Make the pipelines, once their resources are set up and all is prepared."""
        return [self._pipeline(name, resources) for name in self._names]

    def close(self) -> None:
        """Let go of what follows messages."""
        self._tracers.close()

    @contextmanager
    def _serve(self, snapshot: Callable[[], Snapshot]) -> Iterator[None]:
        """What goes on beside the pipelines; one of several processes has no endpoint."""
        show = endpoint(self._spec, self._clock)
        shown = show(snapshot) if self._options.process is None else nullcontext()
        with self._log_ends.asking(), shown:
            yield

    def _handler(self, pipeline: Pipeline) -> Handler:
        return self._options.registry.handlers[pipeline.handler]

    def prepare(self) -> None:
        """Describe every topic first: a producer would make unknown ones silently.

        Raises `BadConfiguration`, and `BrokersUnreachable` where it may go well another time.
        """
        named = named_topics(self._document, self._names)
        problems = self._learn(self._names, named)
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
            producer = self._supplier.transactional(
                self._spec.group(name), pipelines[name], self._known.limits, alone=False
            )
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
        pipeline = self._spec.pipelines[name]
        if pipeline.instance is None:
            return False
        try:
            return self._supplier.has_owner(self._spec.group(name), pipeline, ASK_TIMEOUT)
        except ClientError:
            return False

    def _require_fencing(self, names: Sequence[str]) -> None:
        try:
            self._supplier.require_fencing(ASK_TIMEOUT)
        except ClientError as error:
            if error.retriable:
                raise BrokersUnreachable(str(error)) from error
            here = [("pipelines", name, "delivery") for name in names]
            problems = [self._document.problem(one, f"exactly_once; {error}") for one in here]
            raise BadConfiguration(problems) from error

    def _describe(self, name: str) -> None:
        """Learn anew what a pipeline needs to know of topics; a retry topic is made again.

        Raises `ClientError` for what is wrong with its own: others it may never write to.
        """
        problems = self._learn([name], own_topics(self._spec, name))
        sources = sources_of(self._spec, self._admin, [name], self._there)
        known, not_made = make_retry_topics(self._document, self._admin, sources)
        self._known.take(known)
        problems += not_made
        if problems:
            raise ClientError("; ".join(map(str, problems)))

    def _learn(self, names: Sequence[str], places: Mapping[str, Path]) -> list[Problem]:
        """Learn what these pipelines need to know, and what is wrong with topics of these places.

        Records may name any topic of the spec, so batches have to fit into all of them.
        """
        used = named_topics(self._document, names)
        known = self._admin.describe(list(used))
        missing = [topic for topic in used if topic not in known]
        if missing and self._options.create_topics:
            new = {topic: made_as(self._spec, topic) for topic in missing}
            make_topics(self._document, self._admin, new)
            known = self._admin.describe(list(used))
            missing = [topic for topic in used if topic not in known]
        problems = absent(self._document, places, [topic for topic in missing if topic in places])
        problems += forbidden(self._document, names, known)
        self._known.take(known)
        return problems

    def _pipeline(self, name: str, resources: Resources) -> PipelineLoop:
        pipeline = self._spec.pipelines[name]
        handled = self._handled(name, resources)
        handler = handled.handler
        tiers = tiers_of(self._spec, name)
        own = [self._redriven[name]] if name in self._redriven else []
        own += [tier.topic for tier in tiers]
        job = Job(
            name,
            self._spec.group(name),
            [*dict.fromkeys([*pipeline.source, *own])],
            handler.name,
            pipeline,
            handled.run_limit,
            [topic for topic in self._there if topic not in own],
            lanes_of(pipeline, self._options.registry),
            None if pipeline.rate_limit is None else pipeline.rate_limit.pipeline,
            self._floor,
            None if handler.is_async else partial(self._pools.make_apart, handled),
            breaker=self._breaker(pipeline),
            tiers=tiers,
            tier_lanes=tier_lanes_of(pipeline, self._options.registry),
            fence=fence_of(self._spec, name),
            may_be_silent=self._spec.kafka.may_be_silent,
            max_wait=self._spec.kafka.consumer.max_wait,
            draw=self._options.draw,
            in_batches=handler.batch is not None,
        )
        pool = self._pools.make(handled)
        return PipelineLoop(job, self._clients(name), pool, self._clock, handled.observer)

    def _facts(self, name: str) -> Facts:
        kafka, pipeline = self._spec.kafka, self._spec.pipelines[name]
        return Facts(
            name,
            self._spec.group(name),
            pipeline.handler,
            self._redacted.of_known(kafka.client_id),
            tuple(map(self._redacted.of_known, kafka.brokers)),
            self._spec.tracing.incoming,
            self._spec.tracing.limit,
        )

    def _breaker(self, pipeline: Pipeline) -> Breaker | None:
        """That of the name, which all pipelines share that have it."""
        settings = pipeline.breaker
        if settings is None:
            return None
        return self._breakers.setdefault(settings.name, Breaker(settings))

    def _handled(self, name: str, resources: Resources) -> Handled:
        pipeline, observer = self._spec.pipelines[name], self._watching[name].observer
        handler = self._handler(pipeline)

        def executor() -> Executor:
            return executor_of(
                name,
                pipeline,
                handler,
                self._known.limits,
                self._known.partitions,
                observer,
                resources.values,
                self._clock.monotonic,
                self._redacted,
            )

        recipe = Recipe(
            tuple(self._spec.handlers),
            (os.getcwd(), *self._options.path),  # noqa: PTH109 - sys.path
            pipeline,
            self._facts(name),
            self._spec.name,
            self._options.prepare,
            self._redacted,
        )
        return Handled(name, pipeline, handler, executor, recipe, observer)

    def _clients(self, name: str) -> Clients:
        group, pipeline, wrap = (
            self._spec.group(name),
            self._spec.pipelines[name],
            self._options.wrap,
        )
        supplier, watching, limits = self._supplier, self._watching[name], self._known.limits

        def consumer() -> Consumer:
            return watching.consumer(wrap.consumer(supplier.consumer(group, pipeline)))

        def producer(*, alone: bool) -> Producer:
            self._describe(name)
            return wrap.producer(supplier.producer(limits, alone=alone))

        def transactional(*, alone: bool) -> Transactional:
            self._describe(name)
            made = supplier.transactional(group, pipeline, limits, alone=alone)
            return watching.transactional(wrap.transactional(made))

        return Clients(
            consumer,
            producer,
            limits,
            self._log_ends,
            self._known.numbers,
            partial(supplier.table, group),
            transactional if pipeline.delivery == "exactly_once" else None,
        )
