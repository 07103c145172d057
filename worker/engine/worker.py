"""The process: pipelines, resources, start and end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager

from worker.aside import Aside
from worker.engine.heap import Tidying, collect_rarely, keep_free_memory
from worker.engine.pipeline import PipelineLoop
from worker.engine.pool import LoopThread
from worker.engine.resources import Resources
from worker.engine.waiting import Latch
from worker.engine.watchdog import ended_when_frozen
from worker.errors import BrokersUnreachable, NotLetIn
from worker.flow.health import Snapshot
from worker.flow.redaction import NOTHING_KNOWN, Redaction, shown
from worker.ports import Clock

log = logging.getLogger(__name__)

DRAINED, FAILED, FATAL, FORCED = 0, 1, 3, 4

CLOSE_MARGIN = 10.0
"""Seconds that clients and resources get to close after the drain: both may hang."""
RETRY_START_EVERY = 1.0


class Worker:
    """All pipelines of a spec in one process.

    `run` belongs to the main thread; `stop` and `snapshot` are for any thread and signal handler.
    """

    def __init__(
        self,
        name: str,
        version: str,
        prepare: Callable[[], None],
        pipelines: Callable[[Resources], Sequence[PipelineLoop]],
        resources: Resources,
        loop: LoopThread,
        clock: Clock,
        drain_timeout: float,
        startup_timeout: float | None,
        serve: Callable[[Callable[[], Snapshot]], AbstractContextManager[object]],
        close: Callable[[], None] = lambda: None,
        redacted: Redaction = NOTHING_KNOWN,
    ) -> None:
        self._name = name
        self._version = version
        self._prepare = prepare
        self._make_pipelines = pipelines
        self._resources = resources
        self._loop = loop
        self._clock = clock
        self._drain_timeout = drain_timeout
        self._startup_timeout = startup_timeout
        self._serve = serve
        self._close = close
        self._redacted = redacted
        self._started = clock.time()
        self._starting: str | None = "starting"
        self._shut_out = False
        self._pipelines: Sequence[PipelineLoop] = ()
        self._stopping = Latch()
        self._forced = Latch()
        self._aside = Aside("resources")
        self._deadline: float | None = None
        """When everything has to be over; known from the stop on."""

    def run(self) -> int:
        """Run until stopped or until every pipeline has failed; returns the exit code.

        Raises `BadConfiguration` when topics are missing, `CannotListen`, `ResourceFailed`, and
        `BrokersUnreachable` after `startup_timeout`.
        """
        keep_free_memory()
        with ended_when_frozen(), self._serve(self.snapshot):
            self._wait_until_prepared()
            if self._stopping.is_set():
                return DRAINED
            if not self._wait_for(self._aside.start(self._resources.set_up)):
                return FORCED
            collect_rarely()
            code = FAILED
            try:
                code = self._run_pipelines()
            finally:
                if code != FORCED and not self._tear_down():
                    code = FORCED
            return code

    def stop(self) -> None:
        """Drain and end; called a second time, end at once."""
        if self._stopping.is_set():
            self._forced.set()
        self._stopping.set()

    def snapshot(self) -> Snapshot:
        """The worker as of now, without secrets.

        Each pipeline's part is less than a second old, if it steps.
        """
        now = self._clock.monotonic()
        found = Snapshot(
            self._name,
            self._version,
            self._started,
            now,
            self._starting,
            self._stopping.is_set(),
            "the asyncio loop has ended" if self._loop.dead else None,
            self._loop.blocked_for,
            tuple(pipeline.state_at(now) for pipeline in self._pipelines),
            time=self._clock.time(),
            shut_out=self._shut_out,
        )
        return shown(found, self._redacted)

    def _wait_until_prepared(self) -> None:
        begun = self._clock.monotonic()
        while not self._stopping.is_set():
            try:
                self._prepare()
            except BrokersUnreachable as error:
                waited = self._clock.monotonic() - begun
                if self._startup_timeout is not None and waited >= self._startup_timeout:
                    raise
                if self._starting != str(error):
                    log.warning("waiting for the brokers: %s", error)
                self._starting = str(error)
                self._shut_out = isinstance(error, NotLetIn)
                self._stopping.wait(RETRY_START_EVERY)
            else:
                return

    def _run_pipelines(self) -> int:
        self._pipelines = self._make_pipelines(self._resources)
        self._starting, self._shut_out = None, False
        for pipeline in self._pipelines:
            pipeline.start()
        tidying = Tidying(self._clock.monotonic)
        while not (self._stopping.wait(0.2) or self._have_ended()):
            tidying.go_on()
        return self._end()

    def _have_ended(self) -> bool:
        return all(pipeline.ended for pipeline in self._pipelines)

    def _end(self) -> int:
        for pipeline in self._pipelines:
            pipeline.stop()
        self._set_deadline()
        while not self._have_ended():
            if self._forced.wait(0.05) or self._is_late():
                log.error("ending at once; what was in flight will be handled again")
                return FORCED
        return self._verdict()

    def _tear_down(self) -> bool:
        self._set_deadline()
        if not self._wait_for(self._aside.start(self._resources.tear_down)):
            return False
        self._aside.close()
        self._loop.close()
        self._close()
        return True

    def _wait_for(self, done: Future[None]) -> bool:
        """Wait for what users do in set-up and tear-down, and may never end; whether it did."""
        while not done.done():
            if self._stopping.is_set():
                self._set_deadline()
            if self._forced.wait(0.01) or self._is_late():
                log.error("ending at once; resources were not set up or torn down in time")
                return False
        done.result()
        return True

    def _set_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self._clock.monotonic() + self._drain_timeout + CLOSE_MARGIN

    def _is_late(self) -> bool:
        return self._deadline is not None and self._clock.monotonic() > self._deadline

    def _verdict(self) -> int:
        if any(pipeline.fenced for pipeline in self._pipelines):
            return FATAL
        if any(pipeline.state.failed is not None for pipeline in self._pipelines):
            return FAILED
        return DRAINED if all(pipeline.drained for pipeline in self._pipelines) else FORCED
