"""The composition root: the only place where spec, clients, engine and observers meet."""

from worker.app.assembly import build, make_topics
from worker.app.checks import check
from worker.app.options import Options, Wrap

__all__ = ["Options", "Wrap", "build", "check", "make_topics"]
