"""The rules: plain values in, decisions out; no clock, thread, client or log."""
