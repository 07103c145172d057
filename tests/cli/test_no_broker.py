"""Brokers that are away, as every command tells of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.rig import SPEC, shop, worker

AWAY = "127.0.0.1:1,127.0.0.1:2"


@pytest.mark.parametrize(
    "command",
    [
        "plan shop.yaml",
        "doctor shop.yaml",
        "topics list --spec shop.yaml",
        "topics describe orders --spec shop.yaml",
        "topics create orders --spec shop.yaml",
        "tap orders --spec shop.yaml",
        "produce orders --spec shop.yaml",
        "groups list --spec shop.yaml",
        "groups lag --spec shop.yaml",
        "groups reset shop.doubles --to oldest --spec shop.yaml",
        "dlq list --spec shop.yaml",
        "explain orders/0/0 --spec shop.yaml",
        "replay orders/0/0 --spec shop.yaml",
        f"topics list --brokers {AWAY}",
        f"capture orders --out orders.jsonl --brokers {AWAY}",
    ],
)
def test_they_are_named_in_one_sentence_and_nothing_else_is_said(
    tmp_path: Path, command: str
) -> None:
    shop(tmp_path, SPEC.replace("nowhere.invalid:1", AWAY))

    code, out, err = worker(*command.split(), folder=tmp_path)

    assert (code, out) == (69, "")
    (line,) = err.splitlines()
    assert line.startswith("Error: no broker of 127.0.0.1:1, 127.0.0.1:2 answered: ")
    assert line.endswith("; see whether the brokers run and can be reached")
