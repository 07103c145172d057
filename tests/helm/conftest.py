from __future__ import annotations

import pytest

from tests.helm.chart import Chart
from tests.helm.tools import MAJORS, NoHelm, helm
from worker.testing.sharing import go_without


@pytest.fixture(scope="session")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """The chart; without Helm tests skip, and fail where CI=true."""
    home = tmp_path_factory.mktemp("helm")
    try:
        return Chart({major: helm(major, home) for major in MAJORS})
    except NoHelm as error:
        go_without(str(error))
