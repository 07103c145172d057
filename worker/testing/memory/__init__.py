"""Kafka in memory, behind the ports of the worker: what a cluster does, and its clients."""
