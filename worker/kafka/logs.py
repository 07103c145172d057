"""The client's own log lines through Python logging, repeated ones summed up."""

from __future__ import annotations

import logging

from worker.repeats import limited


def client_logger(name: str) -> logging.Logger:
    """The logger for the lines of one kind of client: consumer, producer or admin."""
    return limited(f"worker.kafka.client.{name}")


class ClientLog:
    """What a client is given as its logger: a line that cannot be logged is lost, and no more."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def log(self, level: int, message: str, *args: object) -> None:
        """Log a line of the client."""
        try:
            self._logger.log(level, message, *args)
        except BaseException:  # noqa: BLE001 - nothing may leave a callback
            return
