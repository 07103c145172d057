"""What the cluster has said of the topics that are produced to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from worker.errors import WorkerError
from worker.ports import Clock
from worker.repeats import limited
from worker.types import TopicInfo

log = limited(__name__)

LOOK_AGAIN_AFTER: Final = 5.0
"""Seconds in which the cluster is not asked again for a partition that it did not have."""


class KnownTopics:
    """Sizes and partitions of topics; shared by all pipelines, for any thread."""

    def __init__(
        self, describe: Callable[[Sequence[str]], Mapping[str, TopicInfo]], clock: Clock
    ) -> None:
        self._describe = describe
        self._clock = clock
        self._looked: dict[str, float] = {}
        self.limits: Final[dict[str, int]] = {}
        """`max.message.bytes` by topic, kept current."""
        self.numbers: Final[dict[str, int]] = {}
        """Partitions by topic, as last heard."""

    def take(self, known: Mapping[str, TopicInfo]) -> None:
        """Remember what the cluster has said."""
        for topic, info in known.items():
            self.limits[topic] = info.max_message_bytes
            self.numbers[topic] = info.partitions
            if info.unread:
                log.warning(
                    "max.message.bytes of %s is taken for Kafka's default, %d, since it cannot be "
                    "read: %s",
                    topic,
                    info.max_message_bytes,
                    info.unread,
                )

    def partitions(self, topic: str, wanted: int) -> int:
        """How many partitions a topic has; asked again for one that it is not known to have.

        Partitions can be added while the worker runs. Where nobody answers, what is known counts.
        """
        known = self.numbers.get(topic, 0)
        if wanted < known or self._has_looked(topic):
            return known
        try:
            self.take(self._describe([topic]))
        except WorkerError:
            return known
        return self.numbers.get(topic, 0)

    def _has_looked(self, topic: str) -> bool:
        now = self._clock.monotonic()
        if now < self._looked.get(topic, now):
            return True
        self._looked[topic] = now + LOOK_AGAIN_AFTER
        return False
