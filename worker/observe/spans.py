"""Spans of messages on their way, where they are followed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from time import monotonic, time_ns
from types import TracebackType
from typing import Any, Final

from opentelemetry.context import (
    Context,
    attach,
    create_key,
    detach,
    get_value,
    set_value,
)
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)

from worker.flow.headers import LINKED
from worker.flow.later import history_of
from worker.flow.rate import InLumps, Rate
from worker.observe import semconv
from worker.observe.propagation import EMPTY, Propagation, linked, named
from worker.observe.sampling import Gate, decided
from worker.observe.semconv import Attributes
from worker.observe.tracing import Facts, TraceContext, headers_of_each
from worker.observe.unfollowed import Forgetting, Unfollowed
from worker.ports import Attempt
from worker.settings.topics import REDRIVE
from worker.types import (
    Commit,
    Encoded,
    Failed,
    Failure,
    Fetch,
    Headers,
    Message,
    Outcome,
    RawMessage,
    TopicPartition,
    headers_of,
)

BURST: Final = 1.0
"""Seconds whose messages may be followed at once."""
LUMP: Final = 0.25
"""Seconds whose messages are followed together where not all can be.

Once in a while costs several times as much as one after the other, when all that it needs is at
hand.
"""
POLLS: Final = 10.0
"""Polls a second that have a span at most."""
KEPT: Final = 1_000
"""Messages of a partition whose contexts are kept until they are committed."""
REDRIVES: Final = "dlq.redrives"
GIVEN: Final = ("\0given", None)
"""Marks, behind its headers, a record to be followed in a context that its handler has given it.

No handler can give such a header, and `Spans.sending` takes it out.
"""

_ATTEMPT: Final = create_key("worker-attempt")


def current_span() -> Span:
    """The span of the message, or batch, that the handler is called for.

    Attributes and events can be added to it. Where the message is not followed it is a span that
    takes everything and keeps nothing.
    """
    return get_current_span()


class Spans(TraceContext):
    """Follows the messages of one pipeline that are sampled.

    In-process it is shared by the threads of handlers, which only read what the leading thread has
    written, each about messages that it was given.
    """

    follows = True

    def __init__(
        self,
        tracer: Tracer,
        gate: Gate,
        propagation: Propagation,
        facts: Facts,
        *,
        older_names: bool = True,
    ) -> None:
        super().__init__(propagation.names)
        self._tracer = tracer
        self._gate = gate
        self._propagation = propagation
        self._forgetting = Forgetting(propagation)
        self._facts = facts
        self._older_names = older_names
        self._common: dict[tuple[str, str], Attributes] = {}
        self._contexts: dict[TopicPartition, dict[int, Headers]] = {}
        """By offsets, what is known of messages that are not committed."""
        self._again: dict[TopicPartition, dict[int, Headers]] = {}
        """Of these, the messages that are tried again."""
        self._traces: dict[object, None] = {}
        """Those of messages that were followed lately."""
        self.rate = InLumps(facts.limit, BURST, max(1, int(facts.limit * LUMP)))
        self._polls = Rate(POLLS)

    # --- at the handler ---

    def headers_for(self, raw: RawMessage, record: Encoded) -> Headers:
        """See `ports.Observer`."""
        attempt = get_value(_ATTEMPT)
        ours = attempt.contexts.get(raw.offset()) if isinstance(attempt, _Attempt) else None
        if ours is None:
            if record.headers:
                record.headers = self._forgetting(record.headers)
            return super().headers_for(raw, record)
        if self._has_context(record):
            return self._of_handler(record.headers, ours)
        return [*record.headers, *ours]

    def added(self, raws: Sequence[RawMessage]) -> Sequence[Headers]:
        """See `ports.Observer`."""
        attempt = get_value(_ATTEMPT)
        found = super().added(raws)
        if not isinstance(attempt, _Attempt):
            return found
        return [
            attempt.contexts.get(raw.offset(), headers)
            for raw, headers in zip(raws, found or [()] * len(raws), strict=True)
        ]

    def around(self) -> AbstractContextManager[None]:
        """See `ports.Observer`; a sampler that minds no parent would not mind this one."""
        return Unfollowed() if self._gate.by_parent else super().around()

    def attempts(
        self, source: TopicPartition, raws: Sequence[RawMessage]
    ) -> Mapping[int, _Attempt]:
        """See `ports.Observer`."""
        again = self.remembered(source, raws) if self._again else {}
        room = self.rate.room(monotonic())
        chosen = self._sampled(raws)[:room] if room else []
        if again:
            chosen += [place for place, raw in enumerate(raws) if raw.offset() in again]
        return {
            place: self._attempt(source, raws[place], again.get(raws[place].offset()))
            for place in chosen
        }

    def batch(self, source: TopicPartition, raws: Sequence[RawMessage]) -> Attempt | None:
        """See `ports.Observer`."""
        again = self.remembered(source, raws)
        chosen = {place for place, raw in enumerate(raws) if again and raw.offset() in again}
        if chosen or self.rate.room(monotonic()):
            chosen.update(self._sampled(raws))
        if not chosen:
            return None
        if len(raws) == 1:
            return self._attempt(source, raws[0], again.get(raws[0].offset()))
        contexts = [
            self._propagation.read(again.get(raw.offset()) or headers_of(raw) or ()) for raw in raws
        ]
        in_order = sorted(range(len(raws)), key=lambda place: place in chosen)  # the last are kept
        links = _links(contexts[place] for place in in_order)
        origins = {
            raws[place].offset(): _origin(
                contexts[place], goes_on=raws[place].offset() in again or _comes_again(raws[place])
            )
            for place in chosen
        }
        about: Attributes = {semconv.MESSAGES: len(raws), semconv.PARTITION: str(source.partition)}
        return _Attempt(self, source.topic, about, origins, EMPTY, links)

    def _of_handler(self, headers: Headers, ours: Headers) -> Headers:
        """Headers with a context that the handler has given, once; with ours where it is none."""
        given = self._propagation.read(headers)
        if not get_current_span(given).get_span_context().is_valid:
            span = get_current_span(self._propagation.read(ours))
            return self._propagation.replaced(headers, set_span_in_context(span, given))
        once = self._propagation.replaced(headers, given)
        return [*once, GIVEN] if self._propagation.sampled([once])[0] else once

    def remember(self, source: TopicPartition, contexts: Mapping[int, Headers]) -> None:
        """See `ports.Observer`."""
        known = self._contexts.setdefault(source, {})
        known.update(contexts)
        _bound(known)
        self._traces.update(dict.fromkeys(map(self._propagation.trace_of, contexts.values())))
        _bound(self._traces)

    def remembered(
        self, source: TopicPartition, raws: Sequence[RawMessage]
    ) -> Mapping[int, Headers]:
        """See `ports.Observer`."""
        again = self._again.get(source)
        if not again:
            return {}
        offsets = {raw.offset() for raw in raws}
        return {offset: headers for offset, headers in again.copy().items() if offset in offsets}

    def again(self, source: TopicPartition, contexts: Mapping[int, Headers]) -> None:
        """See `ports.Observer`."""
        self._again[source] = dict(contexts)

    def _sampled(self, raws: Sequence[RawMessage]) -> list[int]:
        """The places of messages that are to be followed, those whose producers say so first."""
        if not self._gate.by_parent:
            return list(range(len(raws)))
        found = headers_of_each(raws)
        if not any(found):
            return list(self._gate.some(range(len(raws))))
        sampled, without = self._propagation.sampled(found)
        return [*sampled, *self._gate.some(without)]

    def _attempt(self, source: TopicPartition, raw: RawMessage, again: Headers | None) -> _Attempt:
        """An attempt at one message; whatever has already happened to it is in front in its trace.

        That is the attempt before, or what has sent it to a topic of ours.
        """
        context = self._propagation.read(again or headers_of(raw) or ())
        about: Attributes = {
            semconv.PARTITION: str(source.partition),
            semconv.OFFSET: raw.offset(),
        }
        if raw.value() is None:
            about[semconv.TOMBSTONE] = True
        links: Sequence[Link] = ()
        origin = None
        if not (again or self._facts.incoming == "parent" or _comes_again(raw)):
            links, origin = _links([context]), _origin(context, goes_on=False)
            context = set_span_in_context(INVALID_SPAN, context)
        return _Attempt(self, source.topic, about, {raw.offset(): origin}, context, links)

    # --- in the leading thread ---

    def tried_again(self, raw: RawMessage) -> None:
        """See `ports.Observer`."""
        source = TopicPartition(raw.topic(), raw.partition())
        headers = self._contexts.get(source, {}).get(raw.offset())
        if headers:
            self._again.setdefault(source, {})[raw.offset()] = headers

    def unwatched(self, raw: RawMessage, failure: Failure) -> dict[int, Headers]:
        """See `ports.Observer`; the span begins when the attempt did, as far as that is known."""
        attempt = self.attempts(TopicPartition(raw.topic(), raw.partition()), [raw]).get(0)
        if attempt is None:
            return {}
        if failure.took is not None:
            attempt.begun = time_ns() - int(failure.took * 1e9)
        with attempt:
            attempt.tell([Failed(failure)])
        return attempt.contexts

    def headers_moved(self, raw: RawMessage) -> Headers:
        """See `ports.Observer`."""
        source = TopicPartition(raw.topic(), raw.partition())
        known, own = self._contexts.get(source, {}).get(raw.offset()), headers_of(raw) or ()
        if not known:
            return own
        return [*(header for header in own if header[0].lower() not in self._names), *known]

    def sending(self, records: Sequence[Encoded]) -> Sending | None:
        """See `ports.Observer`."""
        followed = [
            record
            for record in records
            if record.headers
            and (
                record.headers[-1] == GIVEN
                or self._propagation.trace_of(record.headers) in self._traces
            )
        ]
        sampled, _ = self._propagation.sampled(record.headers for record in followed)
        spans = [self._send(followed[place]) for place in sampled]
        return Sending(spans) if spans else None

    def _send(self, record: Encoded) -> Span:
        about: Attributes = {}
        if record.partition is not None:
            about[semconv.PARTITION] = str(record.partition)
        if record.value is None:
            about[semconv.TOMBSTONE] = True
        headers = [header for header in record.headers if header != GIVEN]
        context = self._propagation.read(headers)
        span = self.start("send", record.topic, SpanKind.PRODUCER, about, context)
        record.headers = self._propagation.replaced(headers, set_span_in_context(span, context))
        return span

    # --- at the clients ---

    def polled(self, fetches: Sequence[Fetch], begun: int) -> None:
        """Record a poll, begun at a time in nanoseconds, for each topic with what is sampled."""
        if not self._polls.room(monotonic()):
            return
        links: dict[str, list[Link]] = {}
        messages: dict[str, int] = {}
        for fetch in fetches:
            found = headers_of_each(fetch.messages) if fetch.messages else ()
            topic = fetch.source.topic
            messages[topic] = messages.get(topic, 0) + len(fetch.messages)
            if any(found):
                sampled, _ = self._propagation.sampled(found)
                contexts = (self._propagation.read(found[place] or ()) for place in sampled)
                links.setdefault(topic, []).extend(_links(contexts))
        for topic, some in links.items():
            if some:
                about: Attributes = {semconv.MESSAGES: messages[topic]}
                self.start("poll", topic, SpanKind.CLIENT, about, EMPTY, some, begun).end()
                self._polls.take(1, monotonic())

    def committing(self, commits: Mapping[TopicPartition, Commit]) -> list[Span]:
        """Begin a span for each topic of which messages that are followed are committed."""
        links: dict[str, dict[tuple[int, int], Link]] = {}
        for source, commit in commits.items():
            _taken(self._again.get(source, {}), commit.offset)
            done = _taken(self._contexts.get(source, {}), commit.offset)
            for link in _links(map(self._propagation.read, done)):
                span = link.context.trace_id, link.context.span_id
                links.setdefault(source.topic, {})[span] = link  # messages of a batch have one
        return [
            self.start("commit", topic, SpanKind.CLIENT, {}, EMPTY, list(some.values()))
            for topic, some in links.items()
        ]

    # --- spans ---

    def start(
        self,
        operation: str,
        topic: str,
        kind: SpanKind,
        about: Attributes,
        context: Context,
        links: Sequence[Link] = (),
        begun: int | None = None,
    ) -> Span:
        """Begin a span; `begun` is in nanoseconds since 1970, None for now."""
        attributes = {**self._common_of(operation, topic), **self._named(about)}
        if self._gate.decides:
            context = decided(context)
        name = f"{operation} {topic}"
        return self._tracer.start_span(name, context, kind, attributes, links, begun)

    def _common_of(self, operation: str, topic: str) -> Attributes:
        common = self._common.get((operation, topic))
        if common is None:
            common = self._common[operation, topic] = self._named(self._facts_of(operation, topic))
        return common

    def _facts_of(self, operation: str, topic: str) -> Attributes:
        about: Attributes = {
            semconv.SYSTEM: "kafka",
            semconv.OPERATION: operation,
            semconv.OPERATION_TYPE: semconv.OPERATION_TYPES[operation],
            semconv.DESTINATION: topic,
            semconv.CLIENT: self._facts.client,
            **self._facts.server,
            semconv.PIPELINE: self._facts.pipeline,
        }
        if operation != "send":
            about[semconv.GROUP] = self._facts.group
        if operation == "process":
            about[semconv.HANDLER] = self._facts.handler
        return about

    def _named(self, attributes: Attributes) -> Attributes:
        return semconv.with_older(attributes) if self._older_names else attributes

    def written(self, context: Context, origin: str | None) -> Headers:
        """The headers that say this context, and the span that its message was sent in."""
        return self._propagation.write(context if origin is None else linked(context, origin))


class _Attempt:
    """See `ports.Attempt`; meanwhile its span is the current one."""

    __slots__ = (
        "_about",
        "_context",
        "_links",
        "_origins",
        "_span",
        "_spans_of",
        "_token",
        "_topic",
        "begun",
        "contexts",
    )

    def __init__(
        self,
        spans: Spans,
        topic: str,
        about: Attributes,
        origins: Mapping[int, str | None],
        context: Context,
        links: Sequence[Link],
    ) -> None:
        self.begun: int | None = None
        """When, in nanoseconds since 1970; None for as it is entered."""
        self.contexts: dict[int, Headers] = {}
        self._origins = origins
        """By offsets of messages that are followed, spans that their own traces are linked to."""
        self._spans_of = spans
        self._topic = topic
        self._about = about
        self._context = context
        self._links = links
        self._span: Span = INVALID_SPAN
        self._token: Any = None

    def __enter__(self) -> None:
        about, kind = self._about, SpanKind.CONSUMER
        self._span = self._spans_of.start(
            "process", self._topic, kind, about, self._context, self._links, self.begun
        )
        if self._span.is_recording():
            self._spans_of.rate.take(len(self._origins), monotonic())
        context = set_span_in_context(self._span, self._context)
        written = self._spans_of.written
        self.contexts = {
            offset: written(context, origin) for offset, origin in self._origins.items()
        }
        self._token = attach(set_value(_ATTEMPT, self, context))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        detach(self._token)
        self._span.end()

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """See `ports.Attempt`; the text of an exception may hold payload, so it stays here."""
        failure = next((one.failure for one in outcomes if isinstance(one, Failed)), None)
        if failure is not None:
            self._span.set_attribute(semconv.ERROR, failure.error or failure.reason)
            self._span.set_attribute(semconv.REASON, failure.reason)
            text = failure.text if failure.harmless else None
            self._span.set_status(Status(StatusCode.ERROR, text))


class Sending:
    """See `ports.Sends`."""

    __slots__ = ("_spans",)

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans

    def stored(self) -> None:
        """See `ports.Sends`."""
        for span in self._spans:
            span.end()
        self._spans = ()

    def __del__(self) -> None:
        """End what nobody has told of: its partition is gone, or it is to be sent anew."""
        for span in self._spans:
            span.set_attribute(semconv.ERROR, "not_stored")
            span.set_status(StatusCode.ERROR)
            span.end()


def _comes_again(raw: RawMessage) -> bool:
    """Whether a message was handled before; one that only follows its lane was not."""
    history = history_of(Message(raw))
    if history.attempts or history.topic.endswith(REDRIVE):
        return True
    return any(name == REDRIVES for name, _ in headers_of(raw) or ())


def _origin(context: Context, *, goes_on: bool) -> str | None:
    """What names the span that a message was sent in; of one that goes on, where it came from."""
    span = get_current_span(context).get_span_context()
    return (span.trace_state.get(LINKED) if goes_on else None) or named(span)


def _bound(known: dict[Any, Any]) -> None:
    """Forget what was kept first."""
    while len(known) > KEPT:
        del known[next(iter(known))]


def _taken(contexts: dict[int, Headers], end: int) -> list[Headers]:
    """Take out what is known of messages in front of an offset."""
    return [contexts.pop(offset) for offset in list(contexts) if offset < end]


def _links(contexts: Iterable[Context]) -> list[Link]:
    spans = (get_current_span(context).get_span_context() for context in contexts)
    return [Link(span) for span in spans if span.is_valid]
