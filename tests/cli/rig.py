"""A spec with its handlers in a folder, and the command in a process of its own."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

HANDLERS = """
from worker import Reject, handler

@handler
def double(order: dict) -> dict:
    if order["number"] < 0:
        raise Reject("negative\\x1b[2J")
    return {"number": order["number"] * 2}

@handler
def large(order: dict) -> dict | None:
    return order if order["number"] >= 100 else None

failed_before = set()

@handler
def flaky(order: dict) -> dict:
    number = order["number"]
    if number < 0 or (number == 0 and order["id"] not in failed_before):
        failed_before.add(order["id"])
        raise ConnectionError("away")
    return order
"""

SPEC = """\
version: 1
name: shop
kafka: {brokers: "nowhere.invalid:1"}
handlers: [shop_handlers]
pipelines:
  doubles: {from: orders, handler: double, to: doubles, dead_letter: orders.dlq}
  large: {from: doubles, handler: large, to: large, dead_letter: orders.dlq}
server: {port: 0}
"""


def shop(folder: Path, spec: str = SPEC) -> Path:
    """Write the handlers and the spec; returns the spec's file."""
    (folder / "shop_handlers.py").write_text(HANDLERS)
    file = folder / "shop.yaml"
    file.write_text(spec)
    return file


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2]), **variables}


def worker(*arguments: str | Path, folder: Path, **variables: str) -> tuple[int, str, str]:
    """Run the command; returns its exit code, standard output and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "worker", *map(str, arguments)],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def answering(
    answer: str, *arguments: str, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command at a terminal on which somebody gives this answer."""
    terminal, theirs = pty.openpty()
    os.write(terminal, f"{answer}\n".encode())
    try:
        return subprocess.run(
            [sys.executable, "-m", "worker", *arguments],
            cwd=folder,
            env=environment(),
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    finally:
        os.close(terminal)
        os.close(theirs)
