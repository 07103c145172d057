"""Writes docs/metrics.md to standard output."""

from __future__ import annotations

import sys

from worker.observe.reference import metrics_page

sys.stdout.write(metrics_page())
