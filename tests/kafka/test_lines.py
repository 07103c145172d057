"""The lines of files, packed or not."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from worker.kafka.lines import Unreadable, lines_in

CONTENT = b'{"id": "a"}\n\n{"id": 7}\r\nnot json\n{"id": "last"}'
LINES = [b'{"id": "a"}', b'{"id": 7}', b"not json", b'{"id": "last"}']


@pytest.mark.parametrize("name", ["feed.jsonl", "feed.jsonl.gz"])
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])
def test_gzip_is_known_by_the_content_not_by_the_name(
    tmp_path: Path, name: str, *, packed: bool
) -> None:
    file = tmp_path / name
    file.write_bytes(gzip.compress(CONTENT) if packed else CONTENT)

    assert [line for _, line in lines_in(file)] == LINES


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()

    assert list(lines_in(tmp_path / "empty")) == []


def test_a_gzip_file_that_is_cut_off_is_said_so(tmp_path: Path) -> None:
    file = tmp_path / "cut.gz"
    file.write_bytes(gzip.compress(CONTENT)[:-12])

    with pytest.raises(Unreadable, match=r"cut\.gz cannot be read: "):
        list(lines_in(file))
