"""An address as it is written on a command line."""

from __future__ import annotations

import pytest

from worker.settings.values import address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("0.0.0.0:8080", "0.0.0.0", 8080),
        ("localhost:0", "localhost", 0),
        ("[::]:65535", "::", 65535),
    ],
)
def test_an_address_is_a_host_without_brackets_and_a_port(text: str, host: str, port: int) -> None:
    assert address(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    ["", ":", "8080", ":8080", "host", "host:", "host:http", "host:65536", "host:-1", "::1:80"],
)
def test_what_is_no_address_is_told_with_legal_ones(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"is not HOST:PORT such as 0\.0\.0\.0:8080 or \[::\]:8080"
    ):
        address(text)
