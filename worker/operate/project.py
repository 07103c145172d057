"""A new project: a spec, a handler, its test, and what is needed to deploy them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from keyword import iskeyword
from pathlib import Path
from typing import Final

from worker.version import __version__

LEGAL: Final = "lower-case letters, digits and hyphens, beginning with a letter, 50 at most"

_NAME: Final = re.compile(r"[a-z](-?[a-z0-9]){0,49}")
_FILES: Final = {
    "README.md": "README.md",
    "config/@name@.yaml": "spec.yaml",
    "config/@name@.test.yaml": "tests.yaml",
    "handlers/__init__.py": None,
    "handlers/@module@.py": "handlers.py.txt",
    "tests/test_@module@.py": "test.py.txt",
    "tests/test_on_kafka.py": "test_on_kafka.py.txt",
    "tests/real.jsonl": "real.jsonl",
    "data/visitors.jsonl": "visitors.jsonl",
    "pytest.ini": "pytest.ini",
    "Dockerfile": "Dockerfile",
    ".dockerignore": "dockerignore",
    "values.yaml": "values.yaml",
    ".gitignore": "gitignore",
}
"""The files of a project, and the templates that they are made of; None is an empty file."""


def flaw(name: str) -> str | None:
    """Why a project cannot have this name; None when it can."""
    if _NAME.fullmatch(name) is None or len(name) > 50:
        return f"{name!r} is not legal; legal are {LEGAL}"
    if iskeyword(_module(name)):
        return f"{name!r} is a word of Python's own, which no module can have; take another"
    return None


def project(name: str) -> dict[str, str]:
    """The text of each file of a project, by its path; the name is one without a flaw."""
    words = {"@name@": name, "@module@": _module(name), "@version@": __version__}
    templates = files("worker.operate") / "template"
    return {
        _filled(path, words): ""
        if template is None
        else _filled((templates / template).read_text("utf-8"), words)
        for path, template in _FILES.items()
    }


def taken(folder: Path, paths: Mapping[str, str]) -> list[str]:
    """Those of the files of a project that are there already, or cannot be for what is there."""
    return [path for path in paths if not _is_free(folder, Path(path))]


def write(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the files of a project; one that is there by now is an error, `FileExistsError`."""
    for path, text in texts.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)


def _is_free(folder: Path, path: Path) -> bool:
    file = folder / path
    if file.exists() or file.is_symlink():
        return False
    above = [folder / one for one in path.parents]
    return all(one.is_dir() for one in above if one.exists())


def _module(name: str) -> str:
    return name.replace("-", "_")


def _filled(text: str, words: Mapping[str, str]) -> str:
    return re.sub("|".join(words), lambda found: words[found.group()], text)
