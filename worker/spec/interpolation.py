"""`${NAME}`, `${NAME:default}` and `${file:/path}` in a value; `$${` stands for `${`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from worker.spec.files import opened

MAX_FILE_BYTES: Final = 64 * 1024

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{(?:([^{}]*)\})?")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LEGAL: Final = "legal are ${NAME}, ${NAME:default} and ${file:/path}, none within another"


@dataclass(slots=True)
class Interpolation:
    """A text with its references replaced once: what they bring is not looked at again."""

    environ: Mapping[str, str]
    text: str = ""
    secrets: list[str] = field(default_factory=list)
    """What came from files."""
    faults: list[str] = field(default_factory=list)
    """What is wrong with the references, as sentences."""

    def run(self, text: str) -> Interpolation:
        """Replace every reference in a text."""
        self.text = _REFERENCE.sub(self._replace, text)
        return self

    def _replace(self, found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        if found[1] is None:
            self.faults.append(f"a `${{` is not closed by its own `}}`; {_LEGAL}, and $${{ for ${{")
            return ""
        if found[1].startswith("file:"):
            return self._file(found[1].removeprefix("file:"))
        return self._variable(found[1])

    def _variable(self, reference: str) -> str:
        name, has_default, default = reference.partition(":")
        if not _NAME.fullmatch(name):
            self.faults.append(f"${{{reference}}} is not legal; {_LEGAL}")
        elif name in self.environ:
            return self.environ[name]
        elif not has_default:
            self.faults.append(
                f"the environment variable {name} is not set; "
                f"set it, or give a default: ${{{name}:default}}"
            )
        return default

    def _file(self, name: str) -> str:
        if not name.startswith("/") or "\0" in name:
            self.faults.append(f"{name!r} is not the path of a file from the root; {_LEGAL}")
            return ""
        try:
            content = _content(Path(name))
        except OSError as error:
            self.faults.append(f"the file {name} cannot be read: {error.strerror}")
        except ValueError as error:
            self.faults.append(f"the file {name} {error}")
        else:
            self.secrets.append(content)
            return content
        return ""


def _content(file: Path) -> str:
    with opened(file) as stream:
        data = stream.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"is larger than {MAX_FILE_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")
