"""Quix Streams: a StreamingDataFrame, at least once."""

import sys
from typing import Any

from quixstreams import Application


def seen(flight: dict[str, Any]) -> dict[str, Any]:
    flight["seen"] = True
    return flight


def main(brokers: str, group: str, source: str, target: str, folder: str) -> None:
    app = Application(
        broker_address=brokers,
        consumer_group=group,
        auto_offset_reset="earliest",
        commit_interval=1.0,
        consumer_extra_config={"fetch.queue.backoff.ms": 10, "queued.min.messages": 20_000},
        producer_extra_config={"enable.idempotence": True, "linger.ms": 5},
        consumer_poll_timeout=0.1,
        state_dir=folder,
        loglevel="ERROR",
        auto_create_topics=False,
    )
    flights = app.topic(source, value_deserializer="json")
    results = app.topic(target, value_serializer="json")
    app.dataframe(flights).apply(seen).to_topic(results)
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
