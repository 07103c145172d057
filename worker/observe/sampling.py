"""Which messages are followed: decided once for each, from what its headers say."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from opentelemetry.context import Context, create_key, get_value, set_value
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState, get_current_span
from opentelemetry.util.types import Attributes

DECIDED: Final = create_key("worker-decided")
_PARENT_BASED: Final = re.compile(
    r"ParentBased\{root:(?:(AlwaysOnSampler)|(AlwaysOffSampler)|TraceIdRatioBased\{(.+?)\}),"
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Gate:
    """What a sampler would say, known without asking it for each message."""

    by_parent: bool
    """Whether the producer has decided about messages that carry a context."""
    share: float
    """Part of the other messages that are followed, or that the sampler is asked about."""
    decides: bool
    """Whether the sampler need not be asked any more."""

    def some(self, places: Sequence[T]) -> Iterator[T]:
        """Draw so many of these; with a small share most are not even looked at."""
        if self.share >= 1:
            yield from places
        elif self.share > 0:
            place = _skipped(self.share)
            while place < len(places):
                yield places[place]
                place += 1 + _skipped(self.share)


def gate_of(sampler: Sampler) -> Gate:
    """The gate of a sampler; one that minds no parent is asked about each message."""
    found = _PARENT_BASED.match(sampler.get_description())
    if found is None:
        return Gate(by_parent=False, share=1.0, decides=False)
    everything, nothing, ratio = found.groups()
    share = 1.0 if everything else 0.0 if nothing else float(ratio)
    return Gate(by_parent=True, share=share, decides=True)


def _skipped(share: float) -> int:
    """How many are passed over before the next that is drawn."""
    return int(math.log(1.0 - random.random()) / math.log1p(-share))  # noqa: S311 - no secret


def decided(context: Context) -> Context:
    """The context, saying that what begins in it is to be recorded."""
    return set_value(DECIDED, value=True, context=context)


class ByMessage(Sampler):
    """A sampler that is not asked again about what was decided for a message."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See `Sampler`."""
        if parent_context is not None and get_value(DECIDED, parent_context):
            state = get_current_span(parent_context).get_span_context().trace_state
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, state)
        return self._sampler.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """See `Sampler`."""
        return self._sampler.get_description()
