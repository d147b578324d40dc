"""Rebalance events of the consumer group, and the worker's assigned partitions."""

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition

from livesegments.contracts.topics import INPUTS


class AssignmentError(RuntimeError):
    """Partition of one input assigned without the same partition of the others."""


class RebalanceListener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Listener that records rebalances, without further work on kafka-python's I/O thread.

    It also ensures that a join completes. Before each poll, kafka-python checks whether it must
    join. If the reason is a new topic or partition, the leader's assignment clears it, so a poll
    that ends between JoinGroup and SyncGroup is the last one to wait for the response: the member
    stays without partitions and never sends heartbeats. A requested rejoin stays pending until it
    is done.
    """

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self.changed = True

    def on_partitions_revoked(self, _revoked: object) -> None:
        """Record the revocation; a join begins now."""
        self.changed = True
        self._consumer._coordinator.request_rejoin()

    def on_partitions_assigned(self, _assigned: object) -> None:
        """Record the assignment."""
        self.changed = True


def partitions_of(assignment: set[TopicPartition]) -> list[int]:
    """Return the assigned partitions, each with all three inputs.

    Raises
    ------
    AssignmentError
        If an input is missing: topics of unequal partition counts, or another assignor.
    """
    partitions = sorted({tp.partition for tp in assignment})
    for partition in partitions:
        missing = [t for t in INPUTS if TopicPartition(t, partition) not in assignment]
        if missing:
            raise AssignmentError(
                f"partition {partition} was assigned without {', '.join(missing)}: all input topics"
                " need the same number of partitions, and every worker of the group the range"
                " assignor and these topics only"
            )
    return partitions
