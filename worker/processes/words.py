"""What goes over the connection between a supervisor and a process: snapshots up, orders down."""

from __future__ import annotations

from typing import Literal

Order = Literal["drain", "force"]

CLOSE_MARGIN = 15.0
"""Seconds beside its `drain_timeout` after which a process is not waited for any longer."""
