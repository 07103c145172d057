"""Which partitions a group begins with, and which have come later."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from worker.types import Commit, TopicPartition


def unbegun(
    committed: Mapping[TopicPartition, Commit | None],
    named: Collection[str],
    there: Collection[str],
) -> set[TopicPartition]:
    """Partitions with which a group begins, so that its `start` holds for them.

    `committed` has every partition of every topic that is read, None where nothing is committed;
    `named` are the topics that the spec names, `there` those that were there when the worker
    started. A partition has come later, and is read from its oldest message, when the group has
    committed in its topic, or, for a topic that only a pattern has matched, in any, or when that
    topic was not there.
    """
    begun = {source.topic for source, commit in committed.items() if commit is not None}
    matched = frozenset[str]() if begun else frozenset(there)
    return {
        source
        for source in committed
        if source.topic not in begun and (source.topic in named or source.topic in matched)
    }
