"""Clients whose polls and commits have spans where messages are followed."""

from __future__ import annotations

from collections.abc import Sequence
from time import time_ns
from typing import Any, cast

from opentelemetry.trace import Span, StatusCode

from worker.observe import semconv
from worker.observe.spans import Spans
from worker.ports import Commits, Consumer, Membership, Rebalance, Transactional
from worker.types import Fetch


def followed_consumer(consumer: Consumer, spans: Spans) -> Consumer:
    """The consumer, its polls and commits followed."""
    return cast("Consumer", _Consumer(consumer, spans))


def followed_transactional(producer: Transactional, spans: Spans) -> Transactional:
    """The producer, its commits followed."""
    return cast("Transactional", _Transactional(producer, spans))


class _Consumer:
    def __init__(self, consumer: Consumer, observer: Spans) -> None:
        self._consumer = consumer
        self._observer = observer
        self._spans: Sequence[Span] = ()
        """Those of the commit whose answer is outstanding."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def subscribe(self, topics: Sequence[str], rebalance: Rebalance) -> None:
        self._consumer.subscribe(topics, _Rebalance(rebalance, self))

    def poll(self, limit: int, timeout: float) -> list[Fetch]:
        begun = time_ns()
        fetches = self._consumer.poll(limit, timeout)
        if fetches:
            self._observer.polled(fetches, begun)
        return fetches

    def commit(self, commits: Commits, *, wait: bool) -> None:
        spans = self._observer.committing(commits)
        if not wait:
            self._spans = [*self._spans, *spans]
        try:
            self._consumer.commit(commits, wait=wait)
        except BaseException as error:
            _end(spans, type(error).__name__)
            raise
        if wait:
            _end(spans, None)

    def answered(self, error: str | None) -> None:
        """Take note of how the outstanding commit has ended."""
        spans, self._spans = self._spans, ()
        _end(spans, error)


class _Rebalance:
    def __init__(self, rebalance: Rebalance, consumer: _Consumer) -> None:
        self._rebalance = rebalance
        self._consumer = consumer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rebalance, name)

    def committed(self, commits: Commits, error: str | None) -> None:
        self._consumer.answered(None if error is None else "commit_failed")
        self._rebalance.committed(commits, error)


class _Transactional:
    def __init__(self, producer: Transactional, observer: Spans) -> None:
        self._producer = producer
        self._observer = observer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def commit(self, commits: Commits, membership: Membership | None, timeout: float) -> None:
        spans = self._observer.committing(commits)
        try:
            self._producer.commit(commits, membership, timeout)
        except BaseException as error:
            _end(spans, type(error).__name__)
            raise
        _end(spans, None)


def _end(spans: Sequence[Span], error: str | None) -> None:
    for span in spans:
        if error is not None and span.is_recording():
            span.set_attribute(semconv.ERROR, error)
            span.set_status(StatusCode.ERROR)
        span.end()
