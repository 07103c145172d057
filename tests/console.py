"""Kafka's own console tools, by the names of their classes."""

from __future__ import annotations

PRODUCER = "org.apache.kafka.tools.ConsoleProducer"
CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
TRANSACTIONS = "org.apache.kafka.tools.TransactionsCommand"
FIRST = ("--from-beginning", "--max-messages", "1", "--timeout-ms", "60000")
"""Options of the consumer that end it after one record."""
