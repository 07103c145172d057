"""The composition root: the only place where spec, clients, engine and observers meet."""

from worker.app.assembly import build, make_topics
from worker.app.checks import Check, check, load, unreadable
from worker.app.options import Options, Wrap
from worker.app.processes import longest_drain, supervise
from worker.app.rehearsal import Around, Rehearsal, Rehearsed
from worker.app.retrytopics import tiers_of
from worker.app.topics import examine, named_topics

__all__ = [
    "Around",
    "Check",
    "Options",
    "Rehearsal",
    "Rehearsed",
    "Wrap",
    "build",
    "check",
    "examine",
    "load",
    "longest_drain",
    "make_topics",
    "named_topics",
    "supervise",
    "tiers_of",
    "unreadable",
]
