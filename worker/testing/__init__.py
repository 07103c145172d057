"""What users and we test with: Kafka in memory and a clock that stands still."""

from worker.testing.clock import ManualClock
from worker.testing.memory import MemoryBroker

__all__ = ["ManualClock", "MemoryBroker"]
