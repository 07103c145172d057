"""The reference page of the metrics, made from their table."""

from __future__ import annotations

from collections.abc import Iterable

from worker.observe.kafka_exporter import KAFKA_EXPORTER
from worker.observe.metrics import TABLE
from worker.observe.rows import Row

_HEAD = """\
# Metrics

`GET /metrics` answers in Prometheus' text format. This page is made from the table in
`worker/observe/metrics.py`: `python -m worker.observe > docs/metrics.md`. No label has a key or a
value of a message. What to watch and when to be alarmed is in [monitoring.md](monitoring.md).

"""

_COLUMNS = """\
| name | type | unit | labels | meaning |
|--|--|--|--|--|
"""

_TAIL = """
On Linux `worker_process_*` follow: CPU seconds, resident and virtual memory, open and allowed
files, and the start time of the process. With several processes they have the label `process`, and
all others are totals: see [http.md](http.md#several-processes).
"""


_EXPORTER = """
## Names of kafka-exporter

With `server.kafka_exporter: true` these follow, for dashboards and scalers that know them. Each
worker tells of the partitions that it has.

"""


def metrics_page() -> str:
    """The page in Markdown."""
    return _HEAD + _table(TABLE) + _TAIL + _EXPORTER + _table(KAFKA_EXPORTER)


def _table(rows: Iterable[Row]) -> str:
    lines = (
        f"| `{row.name}` | {row.type} | {row.unit} | {', '.join(row.labels)} | {row.meaning} |\n"
        for row in rows
    )
    return _COLUMNS + "".join(lines)
