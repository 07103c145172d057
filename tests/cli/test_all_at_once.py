"""Every command tells every mistake of a spec in one round, in the order of the lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.rig import SPEC, shop, worker

WRONG = (
    SPEC.replace("name: shop", "name: ${NOWHERE}")
    .replace("handler: double,", "handler: doubel,")
    .replace("to: large", "to: doubles")
    .replace("port: 0", "port: 99999")
    + "topics: {orders: {partitions: 3}}\n"
)
TEXTS = [
    "2:1: name: the environment variable NOWHERE is not set",
    "6:27: pipelines.doubles.handler: no handler is named 'doubel'; did you mean 'double'?",
    "7:42: pipelines.large.to: 'doubles' is also read by this pipeline",
    "8:10: server.port: 99999 is out of range",
]
EMBEDDED = "9:19: topics.orders.partitions: 3; the embedded broker makes 4"


@pytest.mark.parametrize(
    ("command", "texts"),
    [
        ("validate", TEXTS),
        ("run", TEXTS),
        ("run --processes=3", TEXTS),
        ("dev", [*TEXTS, EMBEDDED]),
    ],
)
def test_mistakes_of_every_kind_are_told_together(
    tmp_path: Path, command: str, texts: list[str]
) -> None:
    shop(tmp_path, WRONG)

    code, out, err = worker(*command.split(), "shop.yaml", folder=tmp_path)

    lines = err.splitlines()
    assert (code, out, len(lines)) == (78, "", len(texts)), err
    assert all(
        line.startswith(f"shop.yaml:{text}") for line, text in zip(lines, texts, strict=True)
    ), err


def test_a_pipeline_that_is_asked_for_and_does_not_exist_is_told_before_what_it_does_not_read(
    tmp_path: Path,
) -> None:
    shop(tmp_path)
    fed = tmp_path / "orders.jsonl"
    fed.touch()

    code, _, err = worker(
        "dev", "shop.yaml", "--only", "doubels", "--feed", f"orders={fed}", folder=tmp_path
    )

    assert code == 78
    assert "--only: no pipeline is named 'doubels'; did you mean 'doubles'?" in err
