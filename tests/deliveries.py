"""What a producer tells of records."""

from __future__ import annotations


class Deliveries:
    """An entry for each record that something is known of: its error, None when it is stored."""

    def __init__(self) -> None:
        self.errors: list[object] = []

    def stored(self, records: int) -> None:
        """See `ports.Producer.send`."""
        self.errors += [None] * records

    def failed(self, error: object) -> None:
        """See `ports.Producer.send`."""
        self.errors.append(error)
