"""Customers are looked up in the partition that producers choose."""

from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner import DefaultPartitioner

from livesegments.producers.partitioning import partition_of


class _Cluster:
    def __init__(self, partitions: int) -> None:
        self._partitions = set(range(partitions))

    def topics(self) -> set[str]:
        return {"topic"}

    def partitions_for_topic(self, _: str) -> set[int]:
        return self._partitions

    available_partitions_for_topic = partitions_for_topic


@given(st.text(min_size=1, max_size=128), st.integers(1, 64))
def test_the_partition_is_that_of_the_default_partitioner(customer: str, partitions: int) -> None:
    key = customer.encode()
    expected = DefaultPartitioner().partition("topic", key, key, b"", b"", _Cluster(partitions))
    assert partition_of(customer, partitions) == expected


def test_the_partition_is_that_of_java() -> None:
    # From Apache Kafka's UtilsTest.testMurmur2: 21 -> -973932308, foobar -> -790332482.
    assert partition_of("21", 1_000) == (-973932308 & 0x7FFF_FFFF) % 1_000
    assert partition_of("foobar", 1_000) == (-790332482 & 0x7FFF_FFFF) % 1_000
