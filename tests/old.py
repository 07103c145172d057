"""A broker that seems to be older than it is."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.relay import Relay
from worker.kafka.versions import TXN_OFFSET_COMMIT

_FIRST: Final = struct.pack(">hh", TXN_OFFSET_COMMIT, 0)
"""How an entry begins in the list of requests that a broker takes: key and first version."""
_ENTRY: Final = re.compile(re.escape(_FIRST) + rb"\x00[\x00-\x7f]\x00")


@contextmanager
def relayed(address: str, last: int) -> Iterator[str]:
    """Where a broker at this address says up to which version it takes offsets in transactions."""
    entry = _FIRST + struct.pack(">hx", last)
    port = int(address.rpartition(":")[2])
    with Relay(port, lambda answer: _ENTRY.sub(entry, answer)) as relay:
        yield f"127.0.0.1:{relay.port}"
