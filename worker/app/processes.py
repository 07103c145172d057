"""The supervisor of a spec's processes, put together."""

from __future__ import annotations

from collections.abc import Sequence

from worker.app.endpoint import endpoint
from worker.ports import Clock
from worker.processes.child import Target
from worker.processes.supervisor import Supervisor
from worker.settings import Spec
from worker.version import __version__


def supervise(spec: Spec, only: Sequence[str], processes: int, target: Target) -> Supervisor:
    """Make the supervisor of so many processes, each of which runs `target`."""
    clock = Clock()
    return Supervisor(
        spec.name,
        __version__,
        processes,
        target,
        clock,
        longest_drain(spec, only),
        endpoint(spec, clock),
    )


def longest_drain(spec: Spec, only: Sequence[str]) -> float:
    """The longest `drain_timeout` of the pipelines that are run."""
    run = [pipeline for name, pipeline in spec.pipelines.items() if name in only or not only]
    return max((pipeline.drain_timeout for pipeline in run), default=0.0)
