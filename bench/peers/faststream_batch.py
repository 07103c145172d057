"""FastStream on its Confluent broker, in batches; acknowledged after the handler."""

import asyncio
import sys
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker, KafkaMessage, KafkaPublishMessage


def main(brokers: str, group: str, source: str, target: str, _folder: str) -> None:
    broker = KafkaBroker(brokers, acks="all", enable_idempotence=True, linger_ms=5, logger=None)

    @broker.subscriber(
        source,
        group_id=group,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        batch=True,
        max_records=500,
        polling_interval=0.01,
    )
    async def seen(flights: list[dict[str, Any]], message: KafkaMessage) -> None:
        results = []
        for flight, raw in zip(flights, message.raw_message, strict=True):
            flight["seen"] = True
            results.append(KafkaPublishMessage(flight, key=raw.key()))
        await broker.publish_batch(*results, topic=target)

    asyncio.run(FastStream(broker, logger=None).run())


if __name__ == "__main__":
    main(*sys.argv[1:])
