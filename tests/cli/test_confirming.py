"""What is asked before something changes that cannot be undone."""

from __future__ import annotations

import click
import pytest

from worker.cli.confirming import confirm


def test_where_standard_input_is_closed_there_is_nobody_to_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", None)

    with pytest.raises(click.UsageError, match="nobody to ask: give --yes, or --dry-run to see"):
        confirm("Move 8 dead letters?", yes=False, look="--dry-run")
