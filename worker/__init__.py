"""stream-worker: Python functions on Apache Kafka, declared in YAML."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from worker.errors import BatchError, Reject, Retry
from worker.handlers import handler, lane, resource
from worker.types import Message, Record
from worker.version import __version__

if TYPE_CHECKING:
    from worker.kafka.client import Kafka
    from worker.kafka.topics import TopicConfig
    from worker.observe.spans import current_span
    from worker.settings import KafkaSettings

__all__ = [
    "BatchError",
    "Kafka",
    "KafkaSettings",
    "Message",
    "Record",
    "Reject",
    "Retry",
    "TopicConfig",
    "__version__",
    "current_span",
    "handler",
    "lane",
    "resource",
]

_LATER = {
    "Kafka": "worker.kafka.client",
    "KafkaSettings": "worker.settings",
    "TopicConfig": "worker.kafka.topics",
    "current_span": "worker.observe.spans",
}
"""What takes long to import, and where it is, so that `worker --help` is quick."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
