"""stream-worker: Python functions on Apache Kafka, declared in YAML."""

from worker.errors import Reject
from worker.handlers import handler, resource
from worker.types import Message, Record
from worker.version import __version__

__all__ = ["Message", "Record", "Reject", "__version__", "handler", "resource"]
