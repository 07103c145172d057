"""What OpenTelemetry's standard variables say of where telemetry goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

Signal = Literal["traces", "metrics"]
W3C: Final = frozenset({"tracecontext"})
SERVED: Final = ("metrics", "prometheus")
"""What needs no exporter: `/metrics` is there anyway."""


def is_disabled(environment: Mapping[str, str]) -> bool:
    """Whether nothing of OpenTelemetry is wanted."""
    return environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def exporter_names(environment: Mapping[str, str], signal: Signal) -> list[str]:
    """The exporters that are wanted; none where nothing says so."""
    named = environment.get(chooser(signal), "").strip()
    if not named:
        endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
        return ["otlp"] if any(environment.get(one) for one in endpoints) else []
    names = [name.strip() for name in named.split(",") if name.strip()]
    if "none" in names:
        return []
    return [name for name in names if (signal, name) != SERVED]


def propagator_names(environment: Mapping[str, str]) -> frozenset[str]:
    """How contexts are written in headers: `tracecontext` alone where nothing says so.

    Baggage may hold what is nobody else's business, so it goes on only where it is named.
    """
    named = environment.get("OTEL_PROPAGATORS", "").split(",")
    return frozenset(name.strip() for name in named if name.strip()) or W3C


def chooser(signal: Signal) -> str:
    """The variable that names exporters."""
    return f"OTEL_{signal.upper()}_EXPORTER"
