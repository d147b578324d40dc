"""Partition of a customer's events."""

from kafka.partitioner import murmur2


def partition_of(customer_id: str, partitions: int) -> int:
    """Return the partition chosen for a key by Kafka's default partitioner.

    It is the same in Java, kafka-python and librdkafka's ``murmur2_random``: the murmur2 hash of
    the key's UTF-8 bytes, without its sign.
    """
    hashed: int = murmur2(customer_id.encode())
    return (hashed & 0x7FFF_FFFF) % partitions
