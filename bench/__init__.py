"""Benchmarks: the worker beside a bare confluent-kafka loop, and others, doing the same work."""
