"""Whether metrics are exported over OpenTelemetry, beside those that `/metrics` answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from worker.flow.health import Snapshot
from worker.observe.environment import exporter_names, is_disabled

Exporting = Callable[[Callable[[], Snapshot]], AbstractContextManager[object]]


def exporting(name: str) -> Exporting:
    """What exports snapshots where the environment says so; raises `BadEnvironment`.

    `name` is that of the service where the environment gives none.
    """
    environment = os.environ
    if is_disabled(environment):
        return lambda _snapshot: nullcontext()
    if (
        not exporter_names(environment, "metrics")
        and "opentelemetry.sdk.metrics" not in sys.modules
    ):
        return lambda _snapshot: nullcontext()
    from worker.observe.meters import Meters  # noqa: PLC0415 - takes a tenth of a second

    meters = Meters(name)
    return meters.exporting if meters.wanted else lambda _snapshot: nullcontext()
