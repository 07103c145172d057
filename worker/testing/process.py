"""A process of the worker on the memory broker, whose steps somebody takes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from typing import Protocol

from worker.app import Assembly, Options
from worker.engine.pipeline import PipelineLoop
from worker.engine.pool import LoopThread
from worker.engine.topics import KnownTopics
from worker.settings.simulation import ClientCall
from worker.spec import Document
from worker.testing.clock import VirtualClock
from worker.testing.memory.broker import MemoryBroker
from worker.testing.pool import InlinePool, InlinePools, Seconds
from worker.testing.supplier import MemoryClients
from worker.testing.watched import watched
from worker.types import Message


class Stepped:
    """A pipeline whose steps somebody takes."""

    def __init__(
        self,
        loop: PipelineLoop,
        pools: Sequence[InlinePool],
        broker: MemoryBroker,
        clients: MemoryClients,
    ) -> None:
        self.loop = loop
        self.due = -inf
        """When a step has something to do, if nothing happens before; infinite once it ended."""
        self._pools = pools
        """Its own first."""
        self._broker = broker
        self._clients = clients
        self._seen = -1
        """How much had changed in the cluster when it last looked what others have committed."""
        self._after = self._so_far
        """What had been done after its last step."""
        self._did_something = True

    @property
    def is_ready(self) -> bool:
        """Whether a step may do something that the last one has not."""
        if self.loop.ended or self._would_wait:
            return False
        if self._did_something or self.loop.is_stopping:
            return True
        now, changes, turns, *_ = self._so_far
        return (changes, turns) != self._after[1:3] or self.due <= now != self._after[0]

    def step(self) -> None:
        """Take the next step."""
        before = self._so_far
        if self.loop.looks_at <= before[0]:
            self._seen = self._broker.changes
        next(self._pools[0].steps, None)
        self._after = self._so_far
        self._did_something = self._after != before
        if self._would_wait or not self._did_something:
            self.due = self._next_due()

    def close(self) -> None:
        """Take no further step, whatever is in flight."""
        steps = self._pools[0].steps
        if isinstance(steps, Generator):
            steps.close()

    @property
    def _would_wait(self) -> bool:
        """Whether a step would wait, and in real time: it has failed, and begins anew later."""
        return self.loop.resume_at > self._broker.clock.monotonic() and not self.loop.is_stopping

    def _next_due(self) -> float:
        if self.loop.ended:
            return inf
        looks_at = self.loop.looks_at if self._seen != self._broker.changes else inf
        return min(self.loop.due, looks_at, *(pool.due for pool in self._pools))

    @property
    def _so_far(self) -> tuple[float, int, int, int, int]:
        """What changes with all that is done.

        That is time, changes of the cluster, who wants to be alone in the process, runs, and
        messages read.
        """
        member = self._clients.members.get(self.loop.job.group)
        return (
            self._broker.clock.monotonic(),
            self._broker.changes,
            len(self.loop.job.floor.turns),
            sum([pool.traffic for pool in self._pools]),
            0 if member is None else member.received,
        )


class Killed(BaseException):
    """The process has ended; whatever comes of this is seen by nobody."""


class Story(Protocol):
    """What happens in the midst of the steps of a process."""

    def before(self, process: Process, pipeline: str, call: ClientCall) -> None:
        """A pipeline is about to ask something of one of its clients."""

    def begins(self, process: Process, pipeline: str, messages: Sequence[Message]) -> None:
        """A handler is about to be given these; what is raised here, it raises."""

    def ends(self, process: Process, pipeline: str, messages: Sequence[Message]) -> None:
        """The handler has returned, or raised."""


class Process:
    """The pipelines of a spec in one process, with clients that may end without a word.

    Raises `BadConfiguration`, `ResourceFailed`, and `BrokersUnreachable` while they are.
    """

    def __init__(
        self,
        document: Document,
        options: Options,
        broker: MemoryBroker,
        clock: VirtualClock,
        seconds: Seconds,
        story: Story,
        name: str,
    ) -> None:
        self.alive = True
        self.stopping = False
        self._story = story
        self.name = name
        before = partial(story.before, self)
        self.clients = MemoryClients(broker, name, document.spec.kafka, before)

        def pools(loop: LoopThread, _topics: KnownTopics) -> InlinePools:
            self._pools = InlinePools(loop, clock, seconds)
            return self._pools

        self._assembly = Assembly(
            document,
            replace(
                options,
                name=name.replace("-", ""),
                create_topics=True,
                registry=watched(options.registry, self),
                clients=lambda _kafka, _process: self.clients,
                pools=pools,
                clock=clock,
            ),
        )
        self._assembly.prepare()
        self._resources = self._assembly.resources()
        self._resources.set_up()
        loops = self._assembly.pipelines(self._resources)
        for loop in loops:
            loop.start()
        self.pipelines = [
            Stepped(loop, self._pools.made[loop.job.name], broker, self.clients) for loop in loops
        ]

    def begins(self, pipeline: str, messages: Sequence[Message]) -> None:
        """See `Watcher`."""
        self._require_life()
        self._story.begins(self, pipeline, messages)
        self._require_life()

    def ends(self, pipeline: str, messages: Sequence[Message]) -> None:
        """See `Watcher`."""
        self._require_life()
        self._story.ends(self, pipeline, messages)
        self._require_life()

    def stop(self) -> None:
        """Ask the pipelines to drain and end."""
        self.stopping = True
        for one in self.pipelines:
            one.loop.stop()

    @property
    def ended(self) -> bool:
        """Whether all pipelines have."""
        return all(one.loop.ended for one in self.pipelines)

    @property
    def failed(self) -> bool:
        """Whether a pipeline cannot go on."""
        return any(one.loop.state.failed is not None for one in self.pipelines)

    def held(self, pipeline: str) -> int:
        """How many messages a pipeline holds."""
        return sum(one.loop.held for one in self.pipelines if one.loop.job.name == pipeline)

    def kill(self) -> None:
        """End without a word: nothing that is done from here on reaches the cluster."""
        self.alive = False
        self.clients.kill()

    def end_apart(self) -> bool:
        """End the process apart that a handler is at work in, if one is; whether it was."""
        return any(pool.end() for pool in self._pools.apart)

    def close(self) -> None:
        """Let go of everything; what is in flight is dropped."""
        for one in self.pipelines:
            one.close()
        self._resources.tear_down()
        self._assembly.loop.close()
        self._assembly.close()

    def _require_life(self) -> None:
        apart = self._pools.apart
        if not self.alive or (apart and any(pool.has_ended for pool in apart)):
            raise Killed
