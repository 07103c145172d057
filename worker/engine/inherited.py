"""What earlier owners of partitions have left beside the offsets that they have committed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from worker.errors import ClientError
from worker.flow import crashes, envelope
from worker.flow.crashes import Note
from worker.flow.offsets import Ranges
from worker.ports import Consumer, Offsets
from worker.types import Commit, TopicPartition

log = logging.getLogger(__name__)


class Inherited(NamedTuple):
    """What a partition is taken over with."""

    start: int
    committed: Commit | None
    finished: Ranges
    """What is finished above the start."""
    note: Note
    end: int | None
    """Where its log ends, if messages may have ended its owners; None also where nobody says."""


def inherited(
    pipeline: str,
    consumer: Consumer,
    starts: Offsets,
    committed: Mapping[TopicPartition, Commit | None],
    notes: Mapping[TopicPartition, Note],
) -> Mapping[TopicPartition, Inherited]:
    """With what each partition begins at its start, by what was committed and noted of it."""
    finished = _maps_of(pipeline, committed)
    in_doubt = [source for source, note in notes.items() if note.starts]
    ends = _ends_of(pipeline, consumer, in_doubt)
    passed = {p: crashes.passed(notes[p]) for p, end in ends.items() if end <= starts[p]}
    known = {**notes, **passed}
    _warn_of(pipeline, [source for source in in_doubt if known[source].alone])
    return {
        source: Inherited(
            start, committed[source], finished.get(source, ()), known[source], ends.get(source)
        )
        for source, start in starts.items()
    }


def named(partitions: Iterable[TopicPartition]) -> str:
    """Partitions as logs name them."""
    return ", ".join(map(str, sorted(partitions))) or "no partitions"


def _maps_of(
    pipeline: str, committed: Mapping[TopicPartition, Commit | None]
) -> Mapping[TopicPartition, Ranges]:
    """What they have finished above these offsets; foreign metadata is warned of, and says nothing.

    The next commit replaces it.
    """
    maps = {
        source: envelope.decode(commit.metadata, commit.offset)
        for source, commit in committed.items()
        if commit is not None
    }
    foreign = [source for source, finished in maps.items() if finished is None]
    if foreign:
        log.warning(
            "%s: the metadata committed for %s is not ours; the next commit replaces it",
            pipeline,
            named(foreign),
        )
    return {source: finished for source, finished in maps.items() if finished is not None}


def _ends_of(pipeline: str, consumer: Consumer, partitions: Sequence[TopicPartition]) -> Offsets:
    """The ends of partitions whose owners have ended: nothing above them is in doubt."""
    try:
        return consumer.find(partitions, "newest") if partitions else {}
    except ClientError as error:
        log.warning("%s: the ends are not known: %s", pipeline, error)
        return {}


def _warn_of(pipeline: str, partitions: Sequence[TopicPartition]) -> None:
    """Say of which partitions the messages that may have been at work are tried."""
    if partitions:
        log.warning(
            "%s: the owners of %s have ended in a row without getting on; what may have been at "
            "work is tried one at a time",
            pipeline,
            named(partitions),
        )
