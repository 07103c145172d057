"""A secret for every field of the settings that holds one, and where it may turn up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr


def secret_fields(model: type[BaseModel], before: str = "") -> set[str]:
    """The paths of all fields below a model that hold secrets."""
    return {
        path
        for name, field in model.model_fields.items()
        for path in _secret(field.annotation, f"{before}{name}")
    }


def _secret(annotation: Any, path: str) -> Iterator[str]:
    if annotation is SecretStr:
        yield path
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from secret_fields(annotation, f"{path}.")
    for part in get_args(annotation):
        yield from _secret(part, path)


def hidden(value: object, folder: Path) -> object:
    """The same part of a spec with each of its secrets in a file of its own.

    A secret is a `SecretStr`; what it says goes to `folder`, from where the spec takes it.
    """
    match value:
        case SecretStr():
            file = folder / f"secret-{len(list(folder.glob('secret-*')))}"
            file.write_text(value.get_secret_value())
            return f"${{file:{file}}}"
        case Mapping():
            return {key: hidden(one, folder) for key, one in value.items()}
    return value


def paths_of(value: object, before: str = "") -> set[str]:
    """The paths of the secrets in a part of a spec."""
    if isinstance(value, SecretStr):
        return {before}
    if isinstance(value, Mapping):
        return {path for key, one in value.items() for path in paths_of(one, f"{before}.{key}")}
    return set()


def family(pid: int) -> list[int]:
    """A process and all that came from it."""
    parents = dict[int, int]()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def seen_from_outside(pid: int) -> str:
    """What the system tells others of a process: how it was called, and its environment."""
    folder = Path(f"/proc/{pid}")
    return (folder / "cmdline").read_text() + (folder / "environ").read_text()
