"""What ships for those who watch workers: a dashboard for Grafana, alert rules for Prometheus."""

from __future__ import annotations

from importlib.resources import files
from typing import Final, Literal

What = Literal["dashboard", "alerts"]
FILES: Final[dict[What, str]] = {"dashboard": "dashboard.json", "alerts": "alerts.yaml"}


def monitoring_text(what: What) -> str:
    """The file as it is."""
    return files("worker.observe").joinpath(FILES[what]).read_text("utf-8")
