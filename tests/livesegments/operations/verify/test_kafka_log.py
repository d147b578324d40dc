"""Offsets of several topics are asked for together once each has been asked for."""

import pytest
from kafka import TopicPartition

from livesegments.operations.verify.kafka_log import _offsets

TPS = [TopicPartition(topic, 3) for topic in ("a", "b", "c")]


@pytest.mark.parametrize("knows_all", [True, False])
def test_topics_asked_for_before_are_asked_for_together_or_else_alone(*, knows_all: bool) -> None:
    requests: list[list[TopicPartition]] = []

    def ask(tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        requests.append(tps)
        if len(tps) > 1 and not knows_all:
            raise KeyError(tps[0])  # as kafka-python does
        return {tp: ord(tp.topic) for tp in tps}

    asked = {"a", "b"}
    assert _offsets(ask, "abc", 3, asked) == {"a": 97, "b": 98, "c": 99}
    alone = [[TPS[2]]] if knows_all else [[tp] for tp in TPS]
    assert requests == [TPS[:2], *alone]
    assert asked == {"a", "b", "c"}
