"""Upkeep of partitions without traffic: their owner, outboxes, and the ends of their inputs."""

from collections.abc import Sequence
from dataclasses import replace

from kafka import KafkaConsumer, TopicPartition

from livesegments.consumers.log_reader import starts_of
from livesegments.consumers.partition_state import PartitionResult, PartitionState
from livesegments.consumers.recovery.reconciliation import TakeoverRefusedError
from livesegments.contracts.topics import INPUTS
from livesegments.store.checkpoint import Offsets
from livesegments.store.partitions import Partitions

ANSWER_MS = 3_000


def check_owner(store: Partitions, states: Sequence[PartitionState]) -> None:
    """Detect a store that lost writes of partitions, or a commit by another owner."""
    found = store.written_by([state.partition for state in states]) if states else []
    for state, written in zip(states, found, strict=True):
        if written != (state.checkpoint.version, state.checkpoint.nonce):
            raise TakeoverRefusedError(
                f"partition {state.partition}: the store is not as it was left"
            )


def check_kafka_answers(consumer: KafkaConsumer, partition: int) -> None:
    """Detect an unreachable broker, which `poll` does not report.

    Committed offsets are not requested for this: kafka-python returns the late response of a
    request that timed out to the next identical request, and the next takeover would trust it.
    """
    starts_of(consumer, [TopicPartition(INPUTS[0], partition)], ANSWER_MS)


def tidied(consumer: KafkaConsumer, states: Sequence[PartitionState]) -> list[PartitionResult]:
    """Return the maintenance commits of partitions, of which all polled records are processed.

    They trim published entries from the outboxes, as every commit does: these may name customers
    that have been erased since. They also advance offsets to the consumer's positions: only
    transaction markers, aborted records and compacted records lie between. If retention deleted
    them later, they would look like unread records.
    """
    results = []
    for state in states:
        before = state.checkpoint
        at = [consumer.position(TopicPartition(topic, state.partition)) for topic in INPUTS]
        offsets = Offsets(*map(max, before.offsets, at))
        if state.trimmable or offsets != before.offsets:
            after = replace(before, version=before.version + 1, **offsets._asdict())
            results.append(state.commits(after))
    return results
