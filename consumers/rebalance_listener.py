"""What the group tells a worker: that it rebalanced, and which partitions are the worker's."""

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition

from livesegments.contracts.topics import INPUTS


class AssignmentError(RuntimeError):
    """The group gave this worker a partition of one input without the same of the others."""


class RebalanceListener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes that the group rebalanced; it runs on kafka-python's I/O thread, so it does no more.

    And it sees to it that a join that has begun is ended. kafka-python asks before each poll
    whether to join; where the reason was a topic or a partition that is new, that is answered by
    the assignment the leader makes, so a poll that ends between JoinGroup and SyncGroup is the last
    to wait for the answer: the member stays without partitions, and sends no heartbeats, for ever.
    A rejoin that is asked for is not forgotten until it is done.
    """

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self.changed = True

    def on_partitions_revoked(self, _revoked: object) -> None:
        """Note it; a join begins now."""
        self.changed = True
        self._consumer._coordinator.request_rejoin()

    def on_partitions_assigned(self, _assigned: object) -> None:
        """Note it."""
        self.changed = True


def partitions_of(assignment: set[TopicPartition]) -> list[int]:
    """Return the partitions assigned, each with all three inputs.

    Raises
    ------
    AssignmentError
        If an input lacks one: topics of unequal partition counts, or another assignor.
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
