from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.image.building import IMAGE, Builder, Image, Unbuildable, built_image
from tests.system.rig import Kafka
from worker.testing.sharing import go_without, one_for_all


@pytest.fixture(scope="session")
def builder(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """What has built the image; where it cannot, tests skip, and fail where CI=true."""
    return Builder(Path(one_for_all(pytestconfig, tmp_path_factory, "image", built_or_not)))


@pytest.fixture(scope="session")
def image(builder: Builder) -> Image:
    return builder.image(IMAGE)


@pytest.fixture
def kafka(kafka_address: str) -> Kafka:
    return Kafka(kafka_address)


@contextmanager
def built_or_not() -> Iterator[str]:
    try:
        with built_image() as folder:
            yield folder
    except Unbuildable as error:
        go_without(f"no image can be built here: {error}")
