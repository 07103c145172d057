"""The ports on confluent-kafka: the only place that knows the client."""
