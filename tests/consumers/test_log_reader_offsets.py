"""Start and end offsets, also when kafka-python does not know all partition leaders."""

from collections.abc import Callable

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaTimeoutError

from livesegments.consumers.log_reader import Offsets, ends_of, starts_of
from livesegments.contracts.topics import CHANGES, PURCHASES, STATES
from tests.servers import KafkaServer

pytestmark = pytest.mark.servers

FIRST, SECOND = TopicPartition(PURCHASES, 1), TopicPartition(CHANGES, 2)


@pytest.mark.parametrize("ask", [starts_of, ends_of])
def test_topics_that_are_known_and_others_are_all_answered_for(
    fresh_kafka: KafkaServer, ask: Callable[..., Offsets]
) -> None:
    config = {"bootstrap_servers": fresh_kafka.bootstrap}
    producer = KafkaProducer(**config)
    producer.send(CHANGES, b"value", partition=2)
    producer.close()
    consumer = KafkaConsumer(**config)
    assert ask(consumer, [FIRST]) == {FIRST: 0}
    third = TopicPartition(STATES, 0)
    found = ask(consumer, [FIRST, SECOND, third])
    assert found == {FIRST: 0, SECOND: int(ask is ends_of), third: 0}
    consumer.close()


def test_a_partition_that_is_not_there_is_an_error_in_time(fresh_kafka: KafkaServer) -> None:
    consumer = KafkaConsumer(bootstrap_servers=fresh_kafka.bootstrap)
    assert ends_of(consumer, [FIRST]) == {FIRST: 0}
    with pytest.raises(KafkaTimeoutError):
        ends_of(consumer, [FIRST, TopicPartition(PURCHASES, 99)], 300)
    consumer.close()
