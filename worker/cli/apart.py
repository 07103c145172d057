"""A call in a process of its own, with nothing that an earlier one has imported.

Modules of handlers fill the one registry of a process, so one spec would be judged by what those of
another have left behind.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children, get_context
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def apart(
    function: Callable[Given, Answer], *arguments: Given.args, **named: Given.kwargs
) -> Answer:
    """What a function returns; raises what it raises, and `BrokenProcessPool` where it ends.

    Ctrl-C ends it at once, whatever it does: code of users may hang, or catch `KeyboardInterrupt`.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    with ProcessPoolExecutor(1, context, _leave_interrupts_to_parent) as process:
        try:
            return process.submit(function, *arguments, **named).result()
        except KeyboardInterrupt:
            for child in active_children():
                child.kill()
            raise


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
