"""The page for people: one file, which may ask its own worker and nobody else."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from typing import Final

_INLINE: Final = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


def page_html() -> bytes:
    """The page as it is sent."""
    return files("worker.observe").joinpath("page.html").read_bytes()


def policy_of(page: bytes) -> str:
    """The Content-Security-Policy that lets the page's own style and script work, nothing else."""
    hashes = {"style": "", "script": ""}
    for kind, text in _INLINE.findall(page.decode()):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        hashes[kind] += f" 'sha256-{digest}'"
    return (
        f"default-src 'none'; script-src{hashes['script']}; style-src{hashes['style']}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
