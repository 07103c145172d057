"""The machinery: handlers are run, outcomes settled, offsets committed. It does not know Kafka."""
