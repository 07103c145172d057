"""What OpenTelemetry's standard variables say of where telemetry goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

Signal = Literal["traces", "metrics"]
W3C: Final = frozenset({"tracecontext"})
SERVED: Final = ("metrics", "prometheus")
"""What needs no exporter: `/metrics` is there anyway."""
NUMBERS: Final[Mapping[Signal, Mapping[str, int]]] = {
    "traces": {
        "OTEL_BSP_SCHEDULE_DELAY": 1,
        "OTEL_BSP_MAX_QUEUE_SIZE": 1,
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": 1,
        "OTEL_BSP_EXPORT_TIMEOUT": 0,
    },
    "metrics": {"OTEL_METRIC_EXPORT_INTERVAL": 1, "OTEL_METRIC_EXPORT_TIMEOUT": 0},
}
"""Variables that are whole numbers, with the least of each."""
SAMPLERS: Final = tuple(
    parent + root
    for parent in ("parentbased_", "")
    for root in ("always_on", "always_off", "traceidratio")
)


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


def problems(environment: Mapping[str, str], signal: Signal) -> Iterator[str]:
    """What cannot be, of that of which the SDK only warns, and then does something else."""
    for name, least in NUMBERS[signal].items():
        value = environment.get(name, "").strip()
        if value and not (value.isascii() and value.isdecimal() and int(value) >= least):
            yield f"{name} is {value!r}; it can be a whole number from {least}"
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", f"OTEL_EXPORTER_OTLP_{signal.upper()}_HEADERS"):
        if not all(map(_is_header, environment.get(name, "").split(","))):
            yield f"{name} is no list of NAME=VALUE, with commas in between"  # it may be a secret
    if signal == "traces":
        yield from _problems_of_sampler(environment)


def _is_header(text: str) -> bool:
    name, sign, _ = text.partition("=")
    return not text.strip() or bool(name.strip() and sign)


def _problems_of_sampler(environment: Mapping[str, str]) -> Iterator[str]:
    sampler = environment.get("OTEL_TRACES_SAMPLER", "")
    if sampler and sampler.lower() not in SAMPLERS:
        yield f"OTEL_TRACES_SAMPLER is {sampler!r}; it can be {', '.join(SAMPLERS)}"
    share = environment.get("OTEL_TRACES_SAMPLER_ARG", "")
    if share and sampler.lower().endswith("ratio") and not _is_share(share):
        yield f"OTEL_TRACES_SAMPLER_ARG is {share!r}; it can be a number from 0 to 1"


def _is_share(text: str) -> bool:
    try:
        return 0.0 <= float(text) <= 1.0
    except ValueError:
        return False


def chooser(signal: Signal) -> str:
    """The variable that names exporters."""
    return f"OTEL_{signal.upper()}_EXPORTER"
