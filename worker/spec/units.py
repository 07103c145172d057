"""Durations and sizes as they are written."""

from __future__ import annotations

from typing import Final

_DURATIONS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SIZES: Final = {"GiB": 1024.0**3, "MiB": 1024.0**2, "KiB": 1024.0, "B": 1.0}


def united(value: float) -> str:
    """Seconds, which are floats once they are loaded, or bytes, which are not, with their unit."""
    units, smallest = (_DURATIONS, "s") if type(value) is float else (_SIZES, "B")
    for name, factor in units.items():
        if value >= factor and round(value / factor, 6).is_integer():
            return f"{round(value / factor)}{name}"
    return f"{value:g}{smallest}"
