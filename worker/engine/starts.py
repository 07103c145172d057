"""Where a member starts in partitions that have no committed offset."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from worker.flow.starts import unbegun
from worker.ports import Consumer, Offsets, Place
from worker.settings.patterns import is_pattern
from worker.types import Commit, TopicPartition


def starts_of(
    consumer: Consumer,
    fresh: Sequence[TopicPartition],
    place: Place,
    topics: Sequence[str],
    there: Collection[str],
) -> Offsets:
    """Offsets to start at; where the group begins, this is committed for all its partitions.

    For all, those of other members included, so that none of them is taken for one that has come
    later. Members that begin at the same time find places before they look what is committed: so
    none of them commits anything that came after the first of them had begun.
    Raises `ClientError` and `CommitFailed`.
    """
    if place == "oldest":
        return consumer.find(fresh, place)
    named = [topic for topic in topics if not is_pattern(topic)]
    found = consumer.find(sorted(unbegun(consumer.group_offsets(), named, there)), place)
    committed = consumer.group_offsets()
    begun = {p: Commit(found[p]) for p in unbegun(committed, named, there) if p in found}
    if begun:
        consumer.commit(begun, wait=True)
    known = begun | {p: commit for p, commit in committed.items() if commit is not None}
    starts = {source: known[source].offset for source in fresh if source in known}
    return starts | dict(consumer.find([p for p in fresh if p not in starts], "oldest"))
