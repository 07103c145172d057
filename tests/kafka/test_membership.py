"""What the client's opaque metadata of a group says."""

from __future__ import annotations

import pytest

from worker.kafka.membership import generation


def test_the_generation_stands_behind_the_mark() -> None:
    assert generation(b"CGMDv2:\x02\x01\x00\x00group\x00member\x00\x01") == 258


def test_a_member_that_has_not_joined_has_a_negative_one() -> None:
    assert generation(b"CGMDv2:\xff\xff\xff\xffgroup\x00\x00\x01") == -1


def test_metadata_of_another_version_is_no_generation() -> None:
    with pytest.raises(ValueError, match="begins with b'CGMDv3:'"):
        generation(b"CGMDv3:\x02\x00\x00\x00group")
