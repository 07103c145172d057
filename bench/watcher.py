"""Becomes a worker, beside a process that does what its observers do: see `bench.observers`.

usage: python -m bench.watcher PORT COMMAND...
"""

import os
import subprocess
import sys
from typing import Final

SAMPLED: Final = {
    "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
    "OTEL_TRACES_SAMPLER_ARG": "0.01",
}


def main(port: str, command: list[str]) -> None:
    """The observers have a process group of their own, so that no figure of the worker has them."""
    observers = subprocess.Popen(
        [sys.executable, "-m", "bench.observers", port],
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert observers.stdout is not None
    collector = {"OTEL_EXPORTER_OTLP_ENDPOINT": observers.stdout.readline().strip()}
    os.execve(command[0], command, {**os.environ, **SAMPLED, **collector})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
