"""Handlers that tell whatever they know; run by worker processes, not by pytest."""

import logging
from pathlib import Path
from typing import Any

from worker import Reject, handler


@handler
def blab(payload: dict[str, Any]) -> dict[str, Any]:
    """Say what stands in the files that the payload names, in as many ways as it can be said."""
    said = " ".join(Path(file).read_text() for file in payload["files"])
    logging.getLogger("tests").warning("known: %s", said, extra={"topic": said})
    if payload["how"] == "reject":
        raise Reject(said)
    if payload["how"] == "raise":
        raise ValueError(said)
    return payload
