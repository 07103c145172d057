"""Bytewax with its Kafka connector; at least once by snapshots of its offsets once a second."""

import sys
from datetime import timedelta
from pathlib import Path

import orjson
from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSourceMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main


def seen(message: KafkaSourceMessage) -> KafkaSinkMessage:
    flight = orjson.loads(message.value)
    flight["seen"] = True
    return KafkaSinkMessage(message.key, orjson.dumps(flight))


def main(brokers: str, _group: str, source: str, target: str, folder: str) -> None:
    flow = Dataflow("bench")
    flights = kop.input(
        "flights",
        flow,
        brokers=[brokers],
        topics=[source],
        batch_size=5000,
        add_config={"fetch.queue.backoff.ms": "10", "queued.min.messages": "20000"},
    )
    op.inspect("errors", flights.errs).then(op.raises, "raise")
    results = op.map("seen", flights.oks, seen)
    kop.output(
        "results",
        results,
        brokers=[brokers],
        topic=target,
        add_config={"enable.idempotence": "true", "linger.ms": "5"},
    )
    init_db_dir(Path(folder), 1)
    cli_main(
        flow,
        epoch_interval=timedelta(seconds=1),
        recovery_config=RecoveryConfig(folder, backup_interval=timedelta(0)),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
