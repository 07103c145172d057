"""Faust: an agent that takes batches, so that results are acknowledged before their messages."""

import asyncio
import sys

import faust


def main(brokers: str, group: str, source: str, target: str, folder: str) -> None:
    app = faust.App(
        group,
        broker=[f"kafka://{broker}" for broker in brokers.split(",")],
        datadir=folder,
        topic_allow_declare=False,
        topic_disable_leader=True,
        producer_acks=-1,
        producer_linger=0.005,
        broker_commit_interval=1.0,
        broker_max_poll_records=500,
        cython_optimizations=True,
        web_enabled=False,
    )
    flights = app.topic(source, key_type=bytes, value_serializer="json")
    results = app.topic(target, key_type=bytes, value_serializer="json")

    @app.agent(flights)
    async def seen(stream: faust.Stream) -> None:
        async for events in stream.take_events(500, within=0.01):
            sent = []
            for event in events:
                event.value["seen"] = True
                sent.append(await results.send(key=event.key, value=event.value, force=True))
            await asyncio.gather(*sent)

    sys.argv[1:] = ["--loop", "uvloop", "worker", "--loglevel", "error", "--without-web"]
    app.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
