"""A worker whose clock jumps; it is run by a test of limits.

`python -m tests.system.jumping FILE SPEC`: the time of day is as many seconds ahead as the file
says, negative ones behind. What the client itself takes for the time is left alone.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from worker.app import Options, build, load, unreadable
from worker.cli.ending import leave, stopped_by_signals
from worker.observe import logs


def main() -> None:
    ahead, spec = map(Path, sys.argv[1:])
    true = time.time
    time.time = lambda: true() + float(ahead.read_text())
    logs.configure("info", "text")
    options = Options()
    worker = build(load(spec, os.environ, options, unreadable), options)
    with stopped_by_signals(worker):
        code = worker.run()
    leave(code)


if __name__ == "__main__":
    main()
