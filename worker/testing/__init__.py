"""What users and we test with: a spec's pipelines on Kafka in memory, in virtual time."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.flow.letters import Letter
    from worker.kafka.broker import KafkaCluster
    from worker.testing.clock import ManualClock, VirtualClock
    from worker.testing.driver import Driver, NotFinished
    from worker.testing.faults import ALWAYS, At
    from worker.testing.files import captured
    from worker.testing.memory.broker import MemoryBroker
    from worker.testing.plugin import Drive
    from worker.testing.real import KafkaBroker

__all__ = [
    "ALWAYS",
    "At",
    "Drive",
    "Driver",
    "KafkaBroker",
    "KafkaCluster",
    "Letter",
    "ManualClock",
    "MemoryBroker",
    "NotFinished",
    "VirtualClock",
    "captured",
]

_LATER = {
    "ALWAYS": "worker.testing.faults",
    "At": "worker.testing.faults",
    "Drive": "worker.testing.plugin",
    "Driver": "worker.testing.driver",
    "KafkaBroker": "worker.testing.real",
    "KafkaCluster": "worker.kafka.broker",
    "Letter": "worker.flow.letters",
    "ManualClock": "worker.testing.clock",
    "MemoryBroker": "worker.testing.memory.broker",
    "NotFinished": "worker.testing.driver",
    "VirtualClock": "worker.testing.clock",
    "captured": "worker.testing.files",
}
"""Where it is: imported when it is asked for, since pytest imports the plugin in every run."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
