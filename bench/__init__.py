"""Benchmarks: the worker beside a bare confluent-kafka loop that does the same work."""
