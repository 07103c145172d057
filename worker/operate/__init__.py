"""What an operator does with a running system: see what has become of messages, and change it."""
