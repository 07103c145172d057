"""The command `worker`, also as `python -m worker`."""

from __future__ import annotations

import os
import resource
import sys
from importlib import import_module


def main() -> None:
    """Run the command in a Python that does not look for modules in the working directory first.

    A file there that is called like a module of Python's would be run in its place; what this
    process starts looks where it does. Where it dies, nothing of its memory is written.
    """
    if not sys.flags.safe_path:
        os.execv(sys.executable, [sys.executable, "-P", *sys.orig_argv[1:]])  # noqa: S606 - itself
    leave_no_core()
    import_module("worker.cli").main()


def leave_no_core() -> None:
    """Have no core dump written of this process and of those that it starts, as far as they agree.

    A dump would hold the secrets and the payloads. A limit of one byte, not of none, also keeps the
    kernel from handing it to a program, see `core_pattern` in core(5).
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most and 1, most))


if __name__ == "__main__":
    main()
