"""The name of the image, wherever it is made or used."""

from __future__ import annotations

import subprocess

import yaml

from tests.image.building import IMAGE, ROOT
from worker.operate.project import project


def test_what_is_built_is_called_as_whatever_uses_it_calls_it() -> None:
    made = subprocess.run(
        ["make", "--dry-run", "image"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["worker"]
    page = (ROOT / "docs" / "operations.md").read_text()

    assert f" build -t {IMAGE} " in made.stdout
    assert compose["image"] == IMAGE
    assert compose["build"]["args"] == {"VERSION": IMAGE.partition(":")[2]}
    assert f"ARG IMAGE={IMAGE}\n" in project("shop")["Dockerfile"]
    assert f"Its name is\n`{IMAGE}`" in page
    assert f"FROM {IMAGE}\n" in page
