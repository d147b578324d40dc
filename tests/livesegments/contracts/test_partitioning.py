"""Partitions are those that producers choose, of Java's clients and of librdkafka."""

from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner import DefaultPartitioner, murmur2

from livesegments.contracts.partitioning import Partitioning, hash_keys


class _Cluster:
    def __init__(self, partitions: int) -> None:
        self._partitions = set(range(partitions))

    def topics(self) -> set[str]:
        return {"topic"}

    def partitions_for_topic(self, _: str) -> set[int]:
        return self._partitions

    available_partitions_for_topic = partitions_for_topic


KEYS = st.lists(st.binary(max_size=40), max_size=20)


@given(KEYS)
def test_a_batch_is_hashed_like_each_of_its_keys(keys: list[bytes]) -> None:
    assert hash_keys(keys, "murmur2").tolist() == [murmur2(key) & 0xFFFF_FFFF for key in keys]
    assert hash_keys(keys, "crc32").tolist() == [crc32(key) for key in keys]


@given(st.text(min_size=1, max_size=128), st.integers(1, 64))
def test_murmur2_is_the_default_partitioner(customer: str, partitions: int) -> None:
    key = customer.encode()
    expected = DefaultPartitioner().partition("topic", key, key, b"", b"", _Cluster(partitions))
    assert Partitioning("murmur2", partitions).of_customer(customer) == expected


def test_murmur2_is_that_of_java() -> None:
    # From Apache Kafka's UtilsTest.testMurmur2.
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    known |= {b"a-little-bit-longer-string": -1486304829, b"abc": 479470107}
    known |= {b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971}
    hashes = hash_keys(list(known), "murmur2").view(np.int32)
    assert hashes.tolist() == list(known.values())
    expected = [(hashed & 0x7FFF_FFFF) % 1_000 for hashed in known.values()]
    assert Partitioning("murmur2", 1_000).of_keys(list(known)).tolist() == expected


@pytest.mark.parametrize("partitioner", ["murmur2", "crc32"])
def test_a_long_key_among_short_ones_takes_no_memory(partitioner: str) -> None:
    keys = [b"%d" % n for n in range(20_000)] + [b"x" * 65_536]
    partitioning = Partitioning("crc32" if partitioner == "crc32" else "murmur2", 12)
    found = partitioning.of_keys(keys)
    assert found[-1] == partitioning.of_keys(keys[-1:])[0]
    assert sorted(set(found.tolist())) == list(range(12))
