"""The exit codes of every command: the only place for them."""

from __future__ import annotations

from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
FATAL: Final = 3
FORCED: Final = 4
UNREACHABLE: Final = 69
BAD_CONFIGURATION: Final = 78

TABLE: Final = {
    OK: "drained and ended in good order",
    FAILED: "failed at run time, or problems were found",
    USAGE: "the command line is wrong",
    FATAL: "fatal error of a client, or fenced by another process",
    FORCED: "forced: what was in flight will be handled again",
    UNREACHABLE: "no broker or worker can be reached, or no broker can be had on this machine",
    BAD_CONFIGURATION: "the spec, its handlers or its topics cannot work",
}
"""What each code means."""
