"""Tokens of OAUTHBEARER that a function of the user gives."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

log = logging.getLogger(__name__)


class Token(NamedTuple):
    """A token; `expires` in seconds since 1970, `principal` is whom it is for."""

    value: str
    expires: float
    principal: str = ""

    def __repr__(self) -> str:
        return f"Token(expires={self.expires!r}, principal={self.principal!r})"


def refresher(token: Callable[[], Token]) -> Callable[[str], tuple[str, float, str]]:
    """The client's `oauth_cb`, which it calls in a thread of its own, again before a token expires.

    What the function raises is logged, and the client, to which it is passed on, tries again.
    """

    def refresh(_config: str) -> tuple[str, float, str]:
        try:
            value, expires, principal = token()
        except Exception as error:
            log.error("no token for OAUTHBEARER: %s: %s", type(error).__name__, error)  # noqa: TRY400
            raise
        return value, expires, principal

    return refresh
