"""A module for each command of `worker`: parse, call, print."""
