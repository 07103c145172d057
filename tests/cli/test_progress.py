from __future__ import annotations

import io

import pytest

from worker.cli.progress import progress


class Terminal(io.StringIO):
    """A terminal that keeps what is shown."""

    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("sys.stderr", stream)
    with progress("reading") as tell:
        tell(3, 4)
    return stream.getvalue()


def test_a_bar_is_shown_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal = shown(Terminal(), monkeypatch)

    assert "reading" in on_terminal
    assert "75%" in on_terminal
    assert shown(io.StringIO(), monkeypatch) == ""
