"""What an installed worker, from a clone too, puts where users' modules are looked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FIND = "import worker; from importlib.util import find_spec; print(find_spec('handlers'))"


def test_the_example_does_not_stand_before_a_users_own_package_of_handlers(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-I", "-c", FIND], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert found.stdout == "None\n"
