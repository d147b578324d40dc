"""Recovery reads back what workers have published, and only that."""

import pytest
from kafka import KafkaProducer

from livesegments.consumers.log_reader import LogReader
from livesegments.consumers.recovery.changelog_reader import read_back
from livesegments.consumers.recovery.ownership import Committed
from livesegments.contracts.segments import encode
from livesegments.contracts.topics import STATES
from livesegments.store.checkpoint import Offsets
from tests.livesegments.history.made import headers, state
from tests.servers import KafkaServer

COMMITTED = Committed(Offsets(0, 0, 0), "0123456789abcdef", 7)


@pytest.mark.servers
def test_states_of_another_producer_are_left_out(fresh_kafka: KafkaServer) -> None:
    config = {"bootstrap_servers": fresh_kafka.bootstrap}
    producer = KafkaProducer(**config)
    ours = encode(state("ann", 7))
    for key, value, of in (
        (b"ann", ours, headers(7)),
        (b"bob", b"{}", []),
        (b"\xff", b"no text", []),
        (b"\xff", None, []),
    ):
        producer.send(STATES, key=key, value=value, headers=of, partition=0).get(10)
    producer.close()
    with LogReader(config) as reader:
        found = read_back(reader, 0, ["a", "b"], COMMITTED, lambda: None)
    assert [*found.states] == ["ann"]
    assert found.version == 7


@pytest.mark.servers
def test_a_state_of_another_release_is_an_error_that_names_its_place(
    fresh_kafka: KafkaServer,
) -> None:
    config = {"bootstrap_servers": fresh_kafka.bootstrap}
    producer = KafkaProducer(**config)
    producer.send(STATES, key=b"ann", value=b"{}", headers=headers(7), partition=0).get(10)
    producer.close()
    with LogReader(config) as reader, pytest.raises(ValueError, match=f"{STATES}, partition 0"):
        read_back(reader, 0, ["a", "b"], COMMITTED, lambda: None)
