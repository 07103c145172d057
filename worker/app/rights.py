"""What pipelines may do with their topics, where the cluster says what their user may."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from worker.app.wanted import fence_of, implied_topics, redrive_of, tiers_of
from worker.errors import ClientError
from worker.flow.acls import Right
from worker.settings import Spec
from worker.settings.patterns import is_pattern, reads
from worker.spec import Document
from worker.types import Problem, TopicInfo

Path = tuple[str, ...]


def forbidden(
    document: Document, names: Collection[str], known: Mapping[str, TopicInfo]
) -> list[Problem]:
    """A problem for each of these topics that pipelines read or write and may not."""
    return [
        document.problem(
            ("pipelines", name, *path),
            f"topic {topic!r} may not be {done} by this user: grant {operation.capitalize()} on it",
        )
        for name in names
        for path, topic, operation, done in _uses(document.spec, name)
        if topic in known
        and (allowed := known[topic].allowed) is not None
        and operation not in allowed
    ]


def unjoinable(
    document: Document, names: Iterable[str], allowed: Mapping[str, frozenset[str]]
) -> list[Problem]:
    """A problem for each group of these pipelines that may not be joined, as far as is told."""
    groups = {name: document.spec.group(name) for name in names}
    return [
        document.problem(
            ("pipelines", name, "group"),
            f"group {group!r} may not be joined by this user: grant Read on it",
        )
        for name, group in groups.items()
        if group in allowed and "READ" not in allowed[group]
    ]


def not_exactly_once(document: Document, name: str, error: ClientError) -> Problem:
    """Why a pipeline cannot write in transactions."""
    prefix = f"{document.spec.group(name)}."
    text = f"no transactions, whose ids would begin with {prefix!r}: {error}"
    return document.problem(("pipelines", name, "delivery"), text)


def needed(spec: Spec, there: Collection[str]) -> dict[Right, Path]:
    """The rights that a worker of a spec needs, and the first key that says so of each.

    `there` are the topics of the cluster, for patterns. None to make topics: that is for whoever
    applies the spec.
    """
    rights: dict[Right, Path] = {}
    used = set()
    for name in spec.pipelines:
        group, here = spec.group(name), ("pipelines", name)
        rights.setdefault(Right("GROUP", group, "READ"), (*here, "group"))
        for path, topic, operation, _ in [*_uses(spec, name), *_matched(spec, name, there)]:
            used.add(topic)
            rights.setdefault(Right("TOPIC", topic, operation), (*here, *path))
            rights.setdefault(Right("TOPIC", topic, "DESCRIBE_CONFIGS"), (*here, *path))
        redriven = redrive_of(spec, name)
        if redriven is not None:
            used.add(redriven)
            for operation in ("READ", "DESCRIBE_CONFIGS"):
                rights.setdefault(Right("TOPIC", redriven, operation), (*here, "dead_letter"))
        if spec.pipelines[name].delivery == "exactly_once":
            every = Right("TRANSACTIONAL_ID", f"{group}.", "WRITE", "PREFIXED")
            rights.setdefault(every, (*here, "delivery"))
    unread = [topic for topic in spec.topics if topic not in used | implied_topics(spec).keys()]
    for topic in unread:
        for operation in ("WRITE", "DESCRIBE_CONFIGS"):  # a result may name it
            rights.setdefault(Right("TOPIC", topic, operation), ("topics", topic))
    return rights


def _matched(spec: Spec, name: str, there: Collection[str]) -> Iterator[tuple[Path, str, str, str]]:
    """The topics that a pipeline reads by a pattern."""
    patterns = [one for one in spec.pipelines[name].source if is_pattern(one)]
    for topic in there:
        if reads(patterns, topic):
            yield ("from",), topic, "READ", "read"


def _uses(spec: Spec, name: str) -> Iterator[tuple[Path, str, str, str]]:
    """What a pipeline does with which topic, and the key that says so."""
    pipeline = spec.pipelines[name]
    for topic in pipeline.source:
        if not is_pattern(topic):
            yield ("from",), topic, "READ", "read"
    if pipeline.to is not None:
        yield ("to",), pipeline.to, "WRITE", "written"
    for path, topic in [] if pipeline.dead_letter is None else pipeline.dead_letter.places():
        yield path, topic, "WRITE", "written"
    own = [tier.topic for tier in tiers_of(spec, name)]
    fence = fence_of(spec, name)
    for topic in [*own, fence] if fence is not None else own:
        yield ("retry", "topics"), topic, "READ", "read"
        yield ("retry", "topics"), topic, "WRITE", "written"
