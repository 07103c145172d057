"""librdkafka's mock cluster, told what to answer: errors that no real broker can be asked for.

It fences nobody and shows aborted records to everybody, so it is good for answers only.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import confluent_kafka

PRODUCER: Final = 0
REQUESTS: Final = {
    "Produce": 0,
    "InitProducerId": 22,
    "AddPartitionsToTxn": 24,
    "AddOffsetsToTxn": 25,
    "EndTxn": 26,
    "TxnOffsetCommit": 28,
}
"""Numbers of requests in Kafka's protocol."""


def _library() -> ctypes.CDLL:
    """The librdkafka that the client itself has loaded."""
    package = Path(confluent_kafka.__file__).parent
    bundled = [*package.parent.glob("confluent_kafka.libs/librdkafka*.so*")]
    found = ctypes.CDLL(str(bundled[0]) if bundled else "librdkafka.so.1")
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(found, name).restype = ctypes.c_void_p
    found.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return found


class MockCluster:
    """Brokers in this process, as a context manager; each leads and coordinates what it is told."""

    def __init__(self, brokers: int = 1) -> None:
        self._library: Any = _library()
        why = ctypes.create_string_buffer(512)
        settings = ctypes.c_void_p(self._library.rd_kafka_conf_new())
        self._library.rd_kafka_conf_set(settings, b"log_level", b"0", why, len(why))
        client = self._library.rd_kafka_new(PRODUCER, settings, why, len(why))
        assert client, why.value
        self._client = ctypes.c_void_p(client)
        made = self._library.rd_kafka_mock_cluster_new(self._client, brokers)
        self._cluster = ctypes.c_void_p(made)
        self.address: Final = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def create(self, topic: str, partitions: int) -> None:
        self._told("topic_create", topic.encode(), partitions, 1)

    def answer(self, request: str, errors: Sequence[int]) -> None:
        """Answer the next requests of this kind with these errors, one after the other."""
        codes = (ctypes.c_int * len(errors))(*errors)
        number = ctypes.c_int16(REQUESTS[request])
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, number, ctypes.c_size_t(len(errors)), codes
        )

    def forget_answers(self, request: str) -> None:
        """Answer as brokers do what was not asked yet."""
        number = ctypes.c_int16(REQUESTS[request])
        self._library.rd_kafka_mock_clear_request_errors(self._cluster, number)

    def move_coordinator(self, kind: str, name: str, broker: int) -> None:
        """Let another broker, counted from 1, coordinate a `group` or a `transaction`."""
        self._told("coordinator_set", kind.encode(), name.encode(), ctypes.c_int32(broker))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)

    def _told(self, what: str, *arguments: Any) -> None:
        code = getattr(self._library, f"rd_kafka_mock_{what}")(self._cluster, *arguments)
        assert code == 0, f"{what}: {code}"
