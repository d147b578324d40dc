"""Which partition a customer's events go to."""

from kafka.partitioner import murmur2


def partition_of(customer_id: str, partitions: int) -> int:
    """Return the partition that producers with Kafka's default partitioner send a key to.

    Java's and kafka-python's are the same, and librdkafka's ``murmur2_random``: the murmur2 hash
    of the key's UTF-8 bytes, without its sign.
    """
    hashed: int = murmur2(customer_id.encode())
    return (hashed & 0x7FFF_FFFF) % partitions
