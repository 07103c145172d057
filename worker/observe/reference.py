"""The reference page of the metrics, made from their table."""

from __future__ import annotations

from worker.observe.metrics import TABLE

_HEAD = """\
# Metrics

`GET /metrics` answers in Prometheus' text format. This page is made from the table in
`worker/observe/metrics.py`: `python -m worker.observe > docs/metrics.md`.

| name | type | unit | labels | meaning |
|--|--|--|--|--|
"""

_TAIL = """
On Linux `worker_process_*` follow: CPU seconds, resident and virtual memory, open and allowed
files, and the start time of the process. With several processes they have the label `process`, and
all others are totals: see [http.md](http.md#several-processes).
"""


def metrics_page() -> str:
    """The page in Markdown."""
    rows = [
        f"| `{row.name}` | {row.type} | {row.unit} | {', '.join(row.labels)} | {row.meaning} |\n"
        for row in TABLE
    ]
    return _HEAD + "".join(rows) + _TAIL
