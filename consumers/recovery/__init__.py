"""Partition takeover, and rebuilding of a partition's state from Kafka."""
