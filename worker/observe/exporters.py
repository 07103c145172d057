"""The exporters that the environment names, and what they say of where telemetry comes from."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from opentelemetry.sdk.resources import SERVICE_NAME, Resource

from worker.errors import BadEnvironment
from worker.observe.environment import Signal, chooser, exporter_names, problems
from worker.repeats import limited

_PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
_OTLP: Final = {
    "http/protobuf": ("otlp_proto_http", "stream-worker[otlp]"),
    "grpc": ("otlp_proto_grpc", "stream-worker[otlp-grpc]"),
}
"""By protocol, the name of the exporter and what to install for it."""


def exporters_of(signal: Signal, environment: Mapping[str, str]) -> list[Any]:
    """Make the exporters of a signal; raises `BadEnvironment`."""
    names = exporter_names(environment, signal)
    wrong = list(problems(environment, signal)) if names else []
    if wrong:
        raise BadEnvironment("; ".join(wrong))
    return [exporter_of(name, signal, environment) for name in names]


def exporter_of(name: str, signal: Signal, environment: Mapping[str, str]) -> Any:
    """Make an exporter; raises `BadEnvironment` where it is not known or not installed."""
    install = None
    if name == "otlp":
        own = f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL"
        variable = own if environment.get(own) else _PROTOCOL
        protocol = environment.get(variable) or "http/protobuf"
        if protocol not in _OTLP:
            legal = " or ".join(_OTLP)
            raise BadEnvironment(f"{variable} is {protocol!r}; it can be {legal}")
        name, install = _OTLP[protocol]
    found = {point.name: point for point in entry_points(group=f"opentelemetry_{signal}_exporter")}
    if name not in found and install is not None:
        raise BadEnvironment(
            f"{signal} cannot be exported over {protocol}: pip install '{install}'"
        )
    if name not in found:
        legal = ", ".join(sorted({"otlp", "none", *found}))
        raise BadEnvironment(f"{chooser(signal)} names {name!r}; installed are {legal}")
    try:
        exporter = found[name].load()()
    except Exception as error:
        raise BadEnvironment(f"the exporter {name} cannot be made: {error}") from error
    for kind in type(exporter).__mro__:  # each module logs in its own name, over and over
        limited(kind.__module__)
    return exporter


def resource_of(name: str) -> Resource:
    """What the telemetry comes from: as the environment says, else a service of this name."""
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: name}))
    return resource
