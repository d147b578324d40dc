"""Take partitions over, and rebuild a partition's state from Kafka."""
