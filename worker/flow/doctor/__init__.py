"""Verdicts over a pipeline: pure functions of what is known of it."""
