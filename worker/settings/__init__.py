"""Every key of the spec, each with its type, unit, default and meaning: the only place for them.

The JSON Schema (`worker schema`) and the reference page (`docs/spec.md`) are made from these
models. Durations are seconds and sizes are bytes once loaded; in the spec they carry a unit.
"""

from worker.settings.kafka import (
    ConsumerSettings,
    GroupSettings,
    KafkaSettings,
    MetadataSettings,
    NetworkSettings,
    OAuth,
    ProducerSettings,
    Security,
)
from worker.settings.spec import (
    MOST_TIERS,
    BackoffSettings,
    BreakerSettings,
    CommitSettings,
    DeadLetterSettings,
    FloodLimitSettings,
    InFlightSettings,
    Lifecycle,
    Pipeline,
    RedactSettings,
    RetrySettings,
    Server,
    Spec,
    TopicSettings,
    TracingSettings,
    TransactionSettings,
)
from worker.settings.values import WRITTEN, ItemProblems, Model

__all__ = [
    "MOST_TIERS",
    "WRITTEN",
    "BackoffSettings",
    "BreakerSettings",
    "CommitSettings",
    "ConsumerSettings",
    "DeadLetterSettings",
    "FloodLimitSettings",
    "GroupSettings",
    "InFlightSettings",
    "ItemProblems",
    "KafkaSettings",
    "Lifecycle",
    "MetadataSettings",
    "Model",
    "NetworkSettings",
    "OAuth",
    "Pipeline",
    "ProducerSettings",
    "RedactSettings",
    "RetrySettings",
    "Security",
    "Server",
    "Spec",
    "TopicSettings",
    "TracingSettings",
    "TransactionSettings",
]
