"""Virtual environments of the peers, made on first use from the versions pinned in `peers/`."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from bench.rounds import Unavailable, say

PEERS = Path(__file__).parent / "peers"
CACHE = Path(__file__).parent / ".venvs"
WHEELS = ("--only-binary", ":all:")
"""No peer is built from source: that needs compilers, and what comes out is not what users run."""


def python(peer: str) -> Path:
    """The interpreter with a peer's packages; raises `Unavailable` with pip's reason."""
    requirements = PEERS / f"{peer}.txt"
    folder = CACHE / peer
    stamp = folder / "made-from"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest() + sys.version
    if not stamp.exists() or stamp.read_text() != wanted:
        say(f"installing {peer}")
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([*_pip(folder), "install", "-q", *WHEELS, "-r", str(requirements)])
        stamp.write_text(wanted)
    return folder / "bin" / "python"


def pinned(peer: str, package: str) -> str:
    """The version of a package that the requirements name."""
    lines = (PEERS / f"{peer}.txt").read_text().splitlines()
    return next(line.split("==")[1] for line in lines if line.startswith(f"{package}=="))


def _pip(folder: Path) -> list[str]:
    return [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        raise Unavailable(f"cannot be installed: {errors[-1] if errors else 'no reason given'}")
