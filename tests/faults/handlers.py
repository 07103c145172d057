"""The handlers of the workers under fault: a payload says what is to become of it."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any, Final

from worker import Message, Record, handler

BY: Final = os.environ.get("FAULTS_NAME", "")
"""Which worker this is, and the how manieth of that name."""
FAILED: Final = Path(os.environ.get("FAULTS_FOLDER", "."), "failed")
"""Where each attempt that has failed once leaves a file, for all workers, since attempts count on
where a message gets another owner."""


@handler
def exactly(payload: dict[str, Any]) -> list[Record]:
    """Take the time that the payload says, then fail as it says, or give its results."""
    if payload["sleeps"]:  # to sleep for no time gives the interpreter away all the same
        time.sleep(payload["sleeps"])
    return _results("exactly", payload)


@handler
async def at_least(payload: dict[str, Any], message: Message) -> list[Record]:
    """Do the same; what hangs is to be ended, what is to be tried later fails until then."""
    await asyncio.sleep(payload["sleeps"])
    if payload["kind"] == "hangs":
        await asyncio.Event().wait()
    if payload["kind"] == "later" and ".retry." not in message.topic:
        raise ConnectionError("away until it is tried later")
    return _results("at_least", payload)


def _fail_once(name: str) -> None:
    FAILED.mkdir(exist_ok=True)
    try:
        FAILED.joinpath(name).touch(exist_ok=False)
    except OSError:  # also where no file may be opened
        return
    raise ConnectionError("away once")


def _results(name: str, payload: dict[str, Any]) -> list[Record]:
    if payload["kind"] == "fails":
        raise ValueError("it always fails")
    if payload["kind"] == "flaky":
        _fail_once(f"{name}-{payload['id']}")
    result = {"id": payload["id"], "key": payload["key"], "number": payload["number"], "by": BY}
    return [
        Record({**result, "slot": slot}, key=payload["key"]) for slot in range(payload["results"])
    ]
