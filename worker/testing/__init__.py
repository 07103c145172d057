"""What users and we test with: Kafka in memory and a clock that stands still."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.kafka.broker import KafkaCluster
    from worker.testing.clock import ManualClock
    from worker.testing.memory import MemoryBroker
    from worker.testing.real import KafkaBroker

__all__ = ["KafkaBroker", "KafkaCluster", "ManualClock", "MemoryBroker"]

_LATER = {
    "KafkaBroker": "worker.testing.real",
    "KafkaCluster": "worker.kafka.broker",
    "ManualClock": "worker.testing.clock",
    "MemoryBroker": "worker.testing.memory",
}
"""Where it is: imported when it is asked for, since pytest imports the plugin in every run."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
