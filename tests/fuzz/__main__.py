"""Have Atheris fuzz a target: `python -m tests.fuzz TARGET [option of libFuzzer ...]`.

It begins with the seeds. Atheris is no dependency, as it is not there for every Python.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from tempfile import mkdtemp
from typing import Any


def main() -> None:
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["worker"]):
        targets: Any = import_module("tests.fuzz.targets")
    program, name, *options = sys.argv
    corpus = Path(mkdtemp(prefix=f"fuzz-{name}-"))
    for number, seed in enumerate(targets.SEEDS[name]):
        (corpus / str(number)).write_bytes(seed)
    atheris.Setup([program, *options, str(corpus)], targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
