"""`python -m tests.helm` writes the table in the chart's README.md anew."""

from __future__ import annotations

from tests.helm.chart import CHART
from tests.helm.reference import readme

if __name__ == "__main__":
    (CHART / "README.md").write_text(readme())
