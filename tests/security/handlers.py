"""Handlers that tell whatever they know; run by worker processes, not by pytest."""

import json
import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote

from worker import Reject, handler


@handler
def blab(payload: dict[str, Any]) -> dict[str, Any]:
    """Say what stands in the files that the payload names, in as many ways as it can be said."""
    secrets = [Path(file).read_text() for file in payload["files"]]
    said = " ".join(f"{one} {one!r} {json.dumps(one)} {quote(one)}" for one in secrets)
    logging.getLogger("tests").warning("known: %s", said, extra={"topic": said})
    if payload["how"] == "reject":
        raise Reject(said)
    if payload["how"] == "raise":
        raise KeyError(said)
    return payload
