"""Compressed input, with every codec of Kafka."""

import pytest
from kafka import KafkaProducer, TopicPartition

from livesegments.consumers.log_reader import LogReader
from livesegments.contracts.topics import PURCHASES
from tests.servers import KafkaServer

pytestmark = pytest.mark.servers

CODECS = ("gzip", "snappy", "lz4", "zstd")


def test_input_is_read_however_it_is_compressed(fresh_kafka: KafkaServer) -> None:
    config = {"bootstrap_servers": fresh_kafka.bootstrap}
    for codec in CODECS:
        producer = KafkaProducer(**config, compression_type=codec, linger_ms=100)
        for _ in range(50):
            producer.send(PURCHASES, codec.encode() * 20, partition=0)
        producer.close()
    tp = TopicPartition(PURCHASES, 0)
    with LogReader(config) as log:
        read = [r.value for batch in log.read({tp: (0, log.ends([tp])[tp])}) for r in batch[tp]]
    assert read == [codec.encode() * 20 for codec in CODECS for _ in range(50)]
