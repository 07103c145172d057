"""Topics and rights as a spec wants them: what differs in the cluster, and changing that."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from worker.app import (
    beside_dead_letters,
    dead_letter_topics,
    fence_of,
    implied_topics,
    left_behind,
    made_as,
    named_topics,
    needed,
    redrive_of,
    retry_topics,
    source_names,
    tiers_gone,
    unfit,
)
from worker.errors import ClientError, TopicsRefused
from worker.flow.acls import is_granted, refusals
from worker.flow.layout import (
    Configure,
    Create,
    Delete,
    Grant,
    Grow,
    Note,
    Step,
    Wanted,
    as_foreseen,
    as_made,
    forsaken,
    immovable,
    spread,
    steps_to,
    subject_of,
    unseen,
)
from worker.kafka.admin import KafkaAdmin
from worker.kafka.changes import Changes
from worker.kafka.config import warnings
from worker.kafka.groups import GroupLine, Groups
from worker.settings import TopicSettings
from worker.settings.patterns import reads
from worker.settings.topics import fence_topic, redrive_topic
from worker.spec import Document
from worker.types import TopicInfo

log = logging.getLogger(__name__)

Known = Mapping[str, TopicInfo]


@dataclass(slots=True)
class Plan:
    """What differs between a spec and its cluster."""

    steps: list[Step] = field(default_factory=list)
    """What can be done about it, in the order in which it is done."""
    immovable: list[Note] = field(default_factory=list)
    """What differs, and is left as it is."""
    warnings: list[Note] = field(default_factory=list)
    """What does not differ, but ought to be known."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing differs."""
        return not self.steps and not self.immovable


class Planner:
    """Compares a spec with its cluster, and makes the cluster what the spec says.

    `principal` is whose rights are looked at, if any; with `allow_delete` topics of tiers, fences
    and redriven dead letters that nothing configures any more are to be deleted once nobody needs
    what they hold. Every method raises `BrokersUnreachable` or another `ClientError`.
    """

    def __init__(
        self, document: Document, *, principal: str | None = None, allow_delete: bool = False
    ) -> None:
        self._document = document
        self._spec = document.spec
        self._principal = principal
        self._allow_delete = allow_delete
        self._admin = KafkaAdmin(document.spec.kafka)
        self._changes = Changes(self._admin.asking)
        self._groups = Groups(self._admin.asking)
        for warning in warnings(document.spec.kafka):
            log.warning("%s", warning)

    def plan(self) -> Plan:
        """Look what differs; nothing is changed."""
        there = self._admin.names()
        named = [*self._named()]
        known = self._admin.describe([one.topic for one in named if one.topic in there])
        hidden = self._admin.hidden([one.topic for one in named if one.topic not in there])
        implied = [*self._implied(named, known, there, hidden)]
        known = {**known, **self._admin.describe([w.topic for w in implied if w.topic in there])}
        hidden |= self._admin.hidden([one.topic for one in implied if one.topic not in there])
        plan = Plan()
        for wanted in (*named, *implied):
            if wanted.topic in hidden:
                plan.immovable.append(unseen(wanted))
                continue
            plan.steps += steps_to(wanted, known.get(wanted.topic))
            plan.immovable += immovable(wanted, known.get(wanted.topic))
        plan.immovable += self._lossy(implied)
        plan.warnings += spread(plan.steps)
        self._add_rights(plan, [*there, *(one.topic for one in named)])
        self._add_deletions(plan, there)
        self._warn_of_renames(plan, there)
        return plan

    def apply(self, plan: Plan) -> Iterator[tuple[Step, str | None]]:
        """Do what was planned, step by step; yields each with why it was refused, or None.

        What is implied is looked at again when that is made which it follows.
        """
        implied = self._all_implied()
        first = [step for step in plan.steps if subject_of(step) not in implied]
        rest = [step for step in plan.steps if subject_of(step) in implied]
        for step in first:
            yield step, self._done(step)
        if any(isinstance(step, Create | Grow) for step in first):
            rest = [step for step in self.plan().steps if subject_of(step) in implied]
        for step in rest:
            yield step, self._done(step)

    # --- what is wanted ---

    def _named(self) -> Iterator[Wanted]:
        """What the spec names."""
        implied = self._all_implied()
        for topic, path in named_topics(self._document, list(self._spec.pipelines)).items():
            if topic not in implied:
                said = made_as(self._spec, topic)
                yield Wanted(topic, self._origin(path), said, said)

    def _implied(
        self,
        named: Sequence[Wanted],
        known: Known,
        there: Collection[str],
        hidden: set[str],
    ) -> Iterator[Wanted]:
        """What it implies: what messages come back in, retry topics, and what dead letters need.

        What follows a topic that is hidden is left out.
        """
        will_be = {one.topic: as_foreseen(one, known.get(one.topic)) for one in named}
        for name in self._spec.pipelines:
            topic = redrive_of(self._spec, name)
            if topic is not None:
                yield self._own(topic, made_as(self._spec, topic), (name, "dead_letter"))
        for name in self._spec.pipelines:
            if hidden.isdisjoint(self._spec.pipelines[name].source):
                yield from self._retrying(name, will_be, there)
        for topic in dead_letter_topics(self._spec):
            if topic in hidden:
                continue
            found = will_be.get(topic)
            partitions = None if found is None else found.partitions
            made = beside_dead_letters(self._spec, topic, partitions)
            for own, settings in made.items():
                yield self._own(own, settings, self._naming(topic), f"that of {topic}")

    def _retrying(
        self, name: str, will_be: Mapping[str, TopicInfo | None], there: Collection[str]
    ) -> Iterator[Wanted]:
        every = source_names(self._spec, name, [*there, *will_be])
        others = [topic for topic in every if topic not in will_be and topic in there]
        known = {**will_be, **self._admin.describe(others)}
        sources = {one: info for one in every if (info := known.get(one)) is not None}
        complete = all(known.get(one) is not None for one in every if one in will_be)
        made = retry_topics(self._spec, name, sources if complete else None)
        for topic, settings in made.items():
            yield self._own(topic, settings, (name, "retry", "topics"), "that of its sources")

    def _lossy(self, implied: Sequence[Wanted]) -> Iterator[Note]:
        """What the spec says of tiers and fences with which no worker starts."""
        made = {one.topic: as_made(one.settings) for one in implied}
        for problem in unfit(self._document, list(self._spec.pipelines), made):
            yield Note(f"{problem.file}:{problem.line}", problem.text)

    def _own(
        self, topic: str, settings: TopicSettings, path: tuple[str, ...], like: str = ""
    ) -> Wanted:
        said = self._spec.topics.get(topic)
        place = ("pipelines", *path) if said is None else ("topics", topic)
        return Wanted(
            topic,
            self._origin(place),
            settings,
            said or TopicSettings(),
            like if settings.partitions is None else "",
        )

    def _naming(self, dead: str) -> tuple[str, ...]:
        """The key that names a dead-letter topic first."""
        for name, pipeline in self._spec.pipelines.items():
            for path, topic in (
                [] if pipeline.dead_letter is None else pipeline.dead_letter.places()
            ):
                if topic == dead:
                    return (name, *path)
        raise KeyError(dead)

    def _all_implied(self) -> set[str]:
        """Topics that the spec implies, be some of them declared as well."""
        names = self._spec.pipelines
        tiers = {topic for name in names for topic in retry_topics(self._spec, name, None)}
        unread = {
            redrive_topic(self._spec.group(name))
            for name in names
            if redrive_of(self._spec, name) is None
        }
        return (tiers | implied_topics(self._spec).keys()) - unread

    def _origin(self, path: tuple[str | int, ...]) -> str:
        place = self._document.problem(path, "")
        return f"{place.file}:{place.line}"

    # --- what else is looked at ---

    def _add_rights(self, plan: Plan, topics: Sequence[str]) -> None:
        if self._principal is None:
            return
        here = self._origin(("kafka",))
        try:
            acls = self._changes.acls(self._principal)
        except ClientError as error:
            plan.immovable.append(Note(here, f"rights of {self._principal} are not told: {error}"))
            return
        if acls is None:
            text = f"rights of {self._principal}: the cluster has no access control"
            plan.warnings.append(Note(here, text))
            return
        for right, path in needed(self._spec, topics).items():
            origin = self._origin(path)
            for acl in refusals(right, acls):
                text = f"{right} is denied to {acl.principal} from {acl.host}: remove that rule"
                plan.immovable.append(Note(origin, text))
            if not is_granted(right, acls):
                plan.steps.append(Grant(right, origin, self._principal))

    def _add_deletions(self, plan: Plan, there: Sequence[str]) -> None:
        for name in self._spec.pipelines:
            origin = self._origin(("pipelines", name, "retry", "topics"))
            for topic in self._unconfigured(name, there):
                why = self._needed_still(name, topic, there)
                if why is None and self._allow_delete:
                    plan.steps.append(Delete(topic, origin))
                else:
                    text = f"topic {topic!r} is not configured any more; "
                    plan.warnings.append(Note(origin, why or f"{text}--allow-delete deletes it"))

    def _unconfigured(self, name: str, there: Sequence[str]) -> list[str]:
        """Topics of a pipeline that are there, and that nothing configures any more."""
        group, gone = self._spec.group(name), tiers_gone(self._spec, name, there)
        if fence_of(self._spec, name) is None:
            gone.append(fence_topic(group))
        if redrive_of(self._spec, name) is None:
            gone.append(redrive_topic(group))
        return [topic for topic in gone if topic in there and topic not in self._spec.topics]

    def _needed_still(self, name: str, topic: str, there: Sequence[str]) -> str | None:
        """Why a topic that is not configured any more must stay; None where it need not."""
        group, tiers = self._spec.group(name), tiers_gone(self._spec, name, there)
        try:
            held = self._admin.uncommitted(group, [*tiers, topic])
            members = self._admin.group(group).members
        except ClientError as error:
            return f"topic {topic!r} stays, since it is not told who needs it: {error}"
        if topic in tiers and held.get(topic):
            return left_behind(group, topic, held[topic])
        if topic == fence_topic(group):
            waiting = [tier for tier in tiers if held.get(tier)]
            if waiting:
                return f"topic {topic!r} stays as long as {waiting[0]!r} holds messages"
        elif held.get(topic):
            return f"topic {topic!r} stays: it holds messages that nobody would handle"
        return f"topic {topic!r} stays while group {group!r} has members" if members else None

    def _warn_of_renames(self, plan: Plan, there: Sequence[str]) -> None:
        """Tell of groups that begin anew where another one of this name has read before."""
        groups = {name: self._spec.group(name) for name in self._spec.pipelines}
        try:
            lines = self._groups.all()
            earlier = {name: self._earlier(name, lines) for name in groups}
            looked_at = {*groups.values(), *chain.from_iterable(earlier.values())}
            committed = {
                group: {source.topic for source in self._groups.committed(group)}
                for group in looked_at
            }
        except ClientError as error:
            text = f"whether groups have been renamed is not told: {error}"
            plan.warnings.append(Note(self._origin(("pipelines",)), text))
            return
        for name, group in groups.items():
            sources = {t for t in there if reads(self._spec.pipelines[name].source, t)}
            of_this = {one: committed[one] for one in (group, *earlier[name])}
            for other in forsaken(group, sources, of_this, groups.values()):
                text = (
                    f"group {group!r} has committed nothing, and {other!r}, which no pipeline has, "
                    f"has read the same topics: a renamed pipeline or spec starts anew; to go "
                    f"on from there give the pipeline `group: {other}`"
                )
                origin = self._origin(("pipelines", name, "group"))
                plan.warnings.append(Note(origin, text))

    def _earlier(self, name: str, lines: Iterable[GroupLine]) -> list[str]:
        """Groups that may be what a pipeline had before it, or its spec, was renamed."""
        return [
            line.name
            for line in lines
            if line.name.startswith(f"{self._spec.name}.")
            or (line.state == "empty" and line.name.endswith(f".{name}"))
        ]

    # --- what is done ---

    def _done(self, step: Step) -> str | None:
        """Do a step; returns why it was refused."""
        try:
            match step:
                case Create(topic, _, settings, _):
                    self._admin.create({topic: settings})
                case Grow(topic, _, _, to):
                    self._changes.grow(topic, to)
                case Configure(topic, _, values):
                    self._changes.configure(topic, {key: to for key, (_, to) in values.items()})
                case Delete(topic, _):
                    self._changes.delete(topic)
                case Grant(right, _, principal):
                    self._changes.grant(right, principal)
        except TopicsRefused as error:
            return "; ".join(error.topics.values())
        except ClientError as error:
            return str(error)
        return None
