"""The layers of docs/design.md: who may import whom, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import worker

LAYERS = (
    ("types", "version", "spawn", "repeats", "aside"),
    ("errors", "settings"),
    ("ports", "handlers", "serdes", "flow", "spec"),
    ("kafka", "engine", "processes", "observe", "http"),
    ("app",),
    ("operate", "testing"),
    ("cli",),
)
"""From the lowest up; the parts of a layer never import each other."""

HOMES = {
    "confluent_kafka": {"kafka"},
    "opentelemetry": {"observe"},
    "yaml": {"spec"},
    "click": {"cli"},
    "rich": {"cli"},
    "pytest": {"testing"},
}
"""Where an outside library may be imported."""

SHOP_WINDOW = {"__init__", "__main__"}
"""Modules of the package itself that show what lies in any layer."""

LAYER_OF = {part: number for number, parts in enumerate(LAYERS) for part in parts}


def violations(package: Path) -> list[str]:
    """Every import below `package` that the layers forbid, with its place."""
    return [
        f"{path.relative_to(package)}:{line}: {problem}"
        for path in sorted(package.rglob("*.py"))
        for line, problem in _problems(path, _part(path.relative_to(package)), package.name)
    ]


def _part(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def _problems(path: Path, part: str, package: str) -> Iterator[tuple[int, str]]:
    if part not in LAYER_OF and part not in SHOP_WINDOW:
        yield 1, f"{part} is in no layer"
        return
    for line, name in _imports(ast.parse(path.read_text(encoding="utf-8")), package):
        problem = _problem(part, name, package)
        if problem is not None:
            yield line, problem


def _imports(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, "." * node.level
        elif isinstance(node, ast.ImportFrom) and node.module == package:
            yield from ((node.lineno, f"{package}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""


def _problem(part: str, name: str, package: str) -> str | None:
    if name.startswith("."):
        return "imports are absolute"
    library, _, rest = name.partition(".")
    if library != package:
        allowed = HOMES.get(library, {part})
        return None if part in allowed else f"{library} belongs in {', '.join(sorted(allowed))}"
    return None if part in SHOP_WINDOW else _wrong_layer(part, rest.split(".")[0])


def _wrong_layer(part: str, other: str) -> str | None:
    if other == part:
        return None
    if other not in LAYER_OF:
        return f"{other or 'the package itself'} is in no layer"
    if LAYER_OF[other] > LAYER_OF[part]:
        return f"{part} may not import the higher {other}"
    if LAYER_OF[other] == LAYER_OF[part]:
        return f"{part} may not import its sibling {other}"
    return None


def test_the_worker_keeps_its_layers() -> None:
    assert violations(Path(worker.__file__).parent) == []


@pytest.mark.parametrize(
    ("path", "source", "problem"),
    [
        ("flow/retry.py", "from worker.engine.pool import Pool", "the higher engine"),
        ("types.py", "import worker.ports", "the higher ports"),
        ("ports.py", "from worker import app", "the higher app"),
        ("engine/runner.py", "import worker.kafka.consumer", "its sibling kafka"),
        ("kafka/consumer.py", "from worker.engine import runner", "its sibling engine"),
        ("errors.py", "from worker.settings import Model", "its sibling settings"),
        ("flow/retry.py", "from .lanes import Lanes", "absolute"),
        ("flow/retry.py", "from . import lanes", "absolute"),
        ("engine/runner.py", "from confluent_kafka import Consumer", "confluent_kafka belongs"),
        ("testing/memory/broker.py", "import confluent_kafka.admin", "confluent_kafka belongs"),
        ("engine/execute.py", "from opentelemetry import trace", "opentelemetry belongs"),
        ("app.py", "import yaml", "yaml belongs"),
        ("operate/plan.py", "import click", "click belongs"),
        ("operate/plan.py", "from rich.table import Table", "rich belongs"),
        ("engine/runner.py", "import pytest", "pytest belongs"),
        ("__init__.py", "import confluent_kafka", "confluent_kafka belongs"),
        ("engine/runner.py", "def f():\n    import worker.app", "the higher app"),
        ("flow/retry.py", "if TYPE_CHECKING:\n    from worker.app import build", "the higher app"),
        ("flow/retry.py", "from worker import handler", "handler is in no layer"),
        ("flow/retry.py", "import worker", "the package itself is in no layer"),
        ("helpers/text.py", "", "helpers is in no layer"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, path: str, source: str, problem: str) -> None:
    planted = tmp_path / "worker" / path
    planted.parent.mkdir(parents=True)
    planted.write_text(source)

    (found,) = violations(tmp_path / "worker")

    assert found.startswith(f"{path}:{2 if chr(10) in source else 1}: ")
    assert problem in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("engine/runner.py", "from worker.engine.pool import Pool\nimport worker.ports"),
        ("kafka/consumer.py", "import confluent_kafka"),
        ("cli/main.py", "import click, rich\nfrom worker import app, errors"),
        ("__init__.py", "from worker.handlers import handler\nfrom worker.app import build"),
        ("__main__.py", "from worker.cli import main"),
        ("flow/retry.py", "import asyncio\nimport orjson"),
    ],
)
def test_a_legal_import_is_not_complained_of(tmp_path: Path, path: str, source: str) -> None:
    planted = tmp_path / "worker" / path
    planted.parent.mkdir(parents=True)
    planted.write_text(source)

    assert violations(tmp_path / "worker") == []
