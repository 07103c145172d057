"""What `worker dev` says at its end: where every record went."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import RenderableType

from worker.cli.views.tables import console, laid_out
from worker.flow.counted import counted
from worker.flow.deadletter import PREFIX
from worker.flow.health import PipelineState
from worker.kafka.reader import Bounds
from worker.observe.text import escaped
from worker.types import Message, TopicPartition

EXAMPLES: Final = 2
"""Dead letters shown of each reason."""

Examples = Mapping[tuple[str, str], Sequence[Message]]
"""Dead letters by topic and reason."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a run; `seconds` from the start of the worker to its end."""

    pipelines: Sequence[PipelineState]
    bounds: Mapping[TopicPartition, Bounds]
    examples: Examples
    seconds: float
    arrived: bool
    """Whether everything was through before the worker was stopped."""
    keeps_all: bool
    """Whether the broker drops nothing by its nature."""

    def dropped(self) -> dict[str, int]:
        """Records that the broker has dropped, per topic."""
        dropped: dict[str, int] = {}
        for source, bounds in self.bounds.items():
            if bounds.low:
                dropped[source.topic] = dropped.get(source.topic, 0) + bounds.low
        return dropped

    def read(self, pipeline: PipelineState) -> int:
        """Messages that a pipeline has read, however often each was moved to a retry topic.

        Of a run that was cut off it holds every reading, since some may not have come again.
        """
        counts = pipeline.counts
        return counts.received - counts.moved if self.arrived else counts.received

    def unaccounted(self) -> dict[str, int]:
        """Messages, per pipeline, of which it is not known what became of them."""
        if not self.arrived:
            return {}
        missing = {
            pipeline.name: self.read(pipeline) - _accounted(pipeline) for pipeline in self.pipelines
        }
        return {name: number for name, number in missing.items() if number}

    def has_failed(self) -> bool:
        """Whether a pipeline could not go on, so that it has left messages alone."""
        return any(pipeline.failed is not None for pipeline in self.pipelines)

    def is_good(self) -> bool:
        """Whether every record is accounted for and none was dropped."""
        return not self.dropped() and not self.unaccounted()


def examples_of(letters: Iterable[Message]) -> Examples:
    """A few dead letters of each reason."""
    found: dict[tuple[str, str], list[Message]] = {}
    for letter in letters:
        headers = dict(letter.headers)
        reason = (headers.get(PREFIX + "reason") or b"?").decode("utf-8", "replace")
        group = found.setdefault((letter.topic, reason), [])
        if len(group) < EXAMPLES:
            group.append(letter)
    return found


def show(summary: Summary) -> None:
    """Print the summary on standard output."""
    there = console()
    there.print(_pipelines(summary, there.width))
    there.print()
    there.print(_topics(summary.bounds, there.width))
    for (topic, reason), letters in summary.examples.items():
        there.print(f"\n{escaped(topic)}: {escaped(reason)}", soft_wrap=True)
        for letter in letters:
            there.print(f"  {_described(letter)}", soft_wrap=True)
    there.print()
    for line in _verdict(summary):
        there.print(line, soft_wrap=True)


def _pipelines(summary: Summary, width: int) -> RenderableType:
    rows = [
        (
            pipeline.name,
            f"{summary.read(pipeline):,}",
            f"{pipeline.counts.produced:,}",
            f"{pipeline.counts.filtered:,}",
            _by_reason(pipeline.counts.dead_lettered),
            _by_reason(pipeline.counts.skipped),
        )
        for pipeline in summary.pipelines
    ]
    names = ("pipeline", "in", "out", "filtered", "dead-lettered", "skipped")
    return laid_out(names, rows, width=width)


def _topics(bounds: Mapping[TopicPartition, Bounds], width: int) -> RenderableType:
    records: dict[str, int] = {}
    for source, (low, end) in bounds.items():
        records[source.topic] = records.get(source.topic, 0) + end - low
    rows = [(topic, f"{number:,}") for topic, number in records.items()]
    return laid_out(("topic", "records"), rows, width=width)


def _by_reason(counts: Mapping[str, int]) -> str:
    if not counts:
        return "0"
    reasons = ", ".join(f"{reason} {number:,}" for reason, number in sorted(counts.items()))
    return f"{sum(counts.values()):,} ({reasons})"


def _described(letter: Message) -> str:
    return " ".join(
        f"{escaped(name)}={escaped((value or b'').decode('utf-8', 'replace'))}"
        for name, value in letter.headers
        if name.startswith(PREFIX)
    )


def _verdict(summary: Summary) -> list[str]:
    read = sum(map(summary.read, summary.pipelines))
    rate = read / summary.seconds if summary.seconds else 0.0
    lines = [f"{read:,} messages in {summary.seconds:.1f} s, {rate:,.0f} messages/s"]
    lines += [
        escaped(f"{pipeline.name}: failed: {pipeline.failed}")
        for pipeline in summary.pipelines
        if pipeline.failed is not None
    ]
    lines += [
        f"{name}: of {counted(number)} it is not known what became of them"
        for name, number in summary.unaccounted().items()
    ]
    if not summary.arrived:
        lines.append("ended before everything was through")
    elif not summary.unaccounted() and not summary.has_failed():
        lines.append("every message is accounted for: in = handled + dead-lettered + skipped")
    lines += [
        f"{topic}: the embedded broker has dropped {number:,} records; feed less, or use "
        "--broker kafka"
        for topic, number in summary.dropped().items()
    ]
    if not summary.keeps_all and not summary.dropped():
        lines.append("the embedded broker has dropped nothing: all low watermarks are 0")
    return lines


def _accounted(pipeline: PipelineState) -> int:
    counts = pipeline.counts
    given_up = sum(counts.dead_lettered.values()) + sum(counts.skipped.values())
    return counts.handled + given_up
