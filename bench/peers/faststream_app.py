"""FastStream on its Confluent broker, one message a call; acknowledged after the handler."""

import asyncio
import sys
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker, KafkaMessage, KafkaResponse


def main(brokers: str, group: str, source: str, target: str, _folder: str) -> None:
    broker = KafkaBroker(brokers, acks="all", enable_idempotence=True, logger=None)

    @broker.subscriber(
        source, group_id=group, auto_offset_reset="earliest", ack_policy=AckPolicy.NACK_ON_ERROR
    )
    @broker.publisher(target)
    async def seen(flight: dict[str, Any], message: KafkaMessage) -> KafkaResponse:
        flight["seen"] = True
        return KafkaResponse(flight, key=message.raw_message.key())

    asyncio.run(FastStream(broker, logger=None).run())


if __name__ == "__main__":
    main(*sys.argv[1:])
