"""The relays between workers and brokers, as the nemesis sees them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.faults.proxy import Trouble

ROOT: Final = Path(__file__).parents[2]
FINE: Final = Trouble()


class Network:
    """Relays at ports, each to a port, as a context manager; what they did is counted."""

    def __init__(self, pairs: Sequence[tuple[int, int]]) -> None:
        names = [f"{listen}:{target}" for listen, target in pairs]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.proxy", *names],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def suffer(
        self, trouble: Trouble = FINE, only: Collection[int] | None = None
    ) -> Mapping[str, int]:
        """Let the relays have this trouble, by default none; says what was done up to now."""
        return self._order({"trouble": asdict(trouble)}, only)

    def reset(self, only: Collection[int] | None = None) -> Mapping[str, int]:
        """End every connection by a reset; says what was done up to now."""
        return self._order({"reset": True}, only)

    def done(self) -> Mapping[str, int]:
        """What was done up to now."""
        return self._order({}, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def _order(self, order: dict[str, Any], only: Collection[int] | None) -> Mapping[str, int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if only is not None:
            order["only"] = sorted(only)
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the relays have ended with {self._process.wait()}"
        found: dict[str, int] = json.loads(answer)
        return found
