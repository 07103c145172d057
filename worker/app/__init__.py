"""The composition root: the only place where spec, clients, engine and observers meet."""

from worker.app.assembly import Assembly, build, make_topics
from worker.app.checks import Check, check, load, no_client, unreadable
from worker.app.options import Options, Wrap
from worker.app.processes import longest_drain, supervise
from worker.app.rehearsal import Around, Rehearsal, Rehearsed
from worker.app.retrytopics import left_behind, source_names, tiers_gone, unfit
from worker.app.rights import needed
from worker.app.topics import examine, named_topics
from worker.app.wanted import (
    beside_dead_letters,
    dead_letter_topics,
    fence_of,
    implied_topics,
    made_as,
    redrive_of,
    redrive_topics,
    retry_topics,
    tiers_of,
)

__all__ = [
    "Around",
    "Assembly",
    "Check",
    "Options",
    "Rehearsal",
    "Rehearsed",
    "Wrap",
    "beside_dead_letters",
    "build",
    "check",
    "dead_letter_topics",
    "examine",
    "fence_of",
    "implied_topics",
    "left_behind",
    "load",
    "longest_drain",
    "made_as",
    "make_topics",
    "named_topics",
    "needed",
    "no_client",
    "redrive_of",
    "redrive_topics",
    "retry_topics",
    "source_names",
    "supervise",
    "tiers_gone",
    "tiers_of",
    "unfit",
    "unreadable",
]
