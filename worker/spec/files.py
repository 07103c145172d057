"""Files that specs name, opened without waiting for anybody."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def opened(file: Path) -> BinaryIO:
    """A regular file to be read; raises `OSError`, also for what is none, and `ValueError`.

    A FIFO would have it wait for somebody who writes, and a device may never end.
    """
    stream = open(file, "rb", opener=_unwaited)  # noqa: SIM115 - whoever asks closes it
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "it is no regular file", str(file))
    return stream


def _unwaited(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
