"""What our own code never does with bytes of others, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import worker

PACKAGE = Path(worker.__file__).parent

MODULES = {"pickle", "dill", "cloudpickle", "shelve", "marshal", "jsonpickle", "code", "telnetlib"}
"""Modules that make objects or code of bytes."""
HOMES = {"marshal": {"engine/wire.py"}}
"""Where one is imported all the same: what a pool and its own processes say to each other."""
NAMES = {"eval", "exec", "compile", "__import__", "input", "breakpoint"}
ATTRIBUTES = {
    ("os", "system"),
    ("os", "popen"),
    ("tempfile", "mktemp"),
    ("yaml", "load"),
    ("yaml", "load_all"),
    ("yaml", "unsafe_load"),
    ("yaml", "full_load"),
}


def findings(package: Path) -> list[str]:
    """What runs or unpacks what it is given, with its place."""
    return [
        f"{file.relative_to(package)}:{line}: {what}"
        for file in sorted(package.rglob("*.py"))
        for line, what in _findings(ast.parse(file.read_text()))
        if str(file.relative_to(package)) not in HOMES.get(what, ())
    ]


def _findings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                found = {alias.name for alias in names} & MODULES
            case ast.ImportFrom(str(module)):
                found = {module} & MODULES
            case ast.Call(ast.Name(name)):
                found = {name} & NAMES
            case ast.Call(ast.Attribute(ast.Name(module), name)):
                found = {f"{module}.{name}"} if (module, name) in ATTRIBUTES else set()
            case ast.keyword("shell", ast.Constant(True)):
                found = {"shell=True"}
            case _:
                continue
        line: int = node.lineno
        yield from ((line, what) for what in found)


def test_nothing_of_others_is_unpickled_evaluated_or_given_to_a_shell() -> None:
    assert findings(PACKAGE) == []


@pytest.mark.parametrize(
    "planted",
    [
        "import pickle",
        "from marshal import loads",
        "def f(x):\n    return eval(x)",
        "import yaml\nyaml.load('a: 1')",
        "import os\nos.system('ls')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
    ],
)
def test_what_is_planted_is_found(tmp_path: Path, planted: str) -> None:
    (tmp_path / "module.py").write_text(planted)

    assert len(findings(tmp_path)) == 1
