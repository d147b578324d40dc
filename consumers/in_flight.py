"""In-flight publications: at most one, concurrent with the next micro-batch."""

import time
from collections.abc import Callable, Sequence

import structlog

from livesegments.consumers.instrumentation import Instrumentation
from livesegments.consumers.partition_state import PartitionState, Portion
from livesegments.consumers.retry import describe
from livesegments.producers.publisher import PublishError, Publishing

log = structlog.get_logger()

OFFSETS_SECONDS = 1.0
MOST_BYTES = 20 * 1024 * 1024
"""Maximum output bytes of a transaction, and of those waiting for one: about 20,000 changes."""


class InFlightPublications:
    """Tracker that begins publications and applies their confirmation.

    A transaction has at most ``most_bytes``, unless a single version exceeds it.
    """

    def __init__(
        self, publisher: Publishing, observation: Instrumentation, most_bytes: int = MOST_BYTES
    ) -> None:
        self._publisher, self._observed = publisher, observation
        self._most_bytes = most_bytes
        self._offsets_at = 0.0
        self.under_way: dict[int, int] = {}
        """Partition -> version that is begun and not yet confirmed."""

    def begin(
        self,
        states: dict[int, PartitionState],
        membership: object,
        *,
        everything: bool = False,
        behind: bool = False,
    ) -> None:
        """Begin a transaction: outputs immediately, offsets alone at intervals.

        The previous transaction must end first, which updates ``states``. While processing is
        behind, that wait is postponed until much is to be published. Outputs beyond the size of a
        transaction are left for the next one: see `too_much_waits`.
        """
        now = time.monotonic()
        new = [o for p, o in states.items() if o.checkpoint.version > self._latest(o)]
        due = everything or now - self._offsets_at >= OFFSETS_SECONDS
        pending = [o.partition for o in new if due or o.unpublished or o.offsets_pending]
        if not pending:
            self.confirm(states, wait=False)
            return
        with self._observed.stage("publish"):
            self.confirm(states, wait=not behind or self.too_much_waits(states))
            if self.under_way:
                return
            portions = self._portions([states[p] for p in pending])
            self._publisher.begin([each.publication for each in portions], membership)
        if due:
            self._offsets_at = now
        self.under_way = {each.publication.partition: each.version for each in portions}

    def _portions(self, states: Sequence[PartitionState]) -> list[Portion]:
        """Return the parts for the next transaction, small outboxes first.

        A large outbox thus delays no other.
        """
        left = self._most_bytes
        portions: list[Portion] = []
        for each in sorted(states, key=self._waiting):
            portion = each.portion(left)
            if portion.size <= left or not portions:
                portions.append(portion)
                left -= portion.size
        return portions

    def _latest(self, state: PartitionState) -> int:
        return max(state.published, self.under_way.get(state.partition, 0))

    def _waiting(self, state: PartitionState) -> int:
        latest = self._latest(state)
        return sum(entry.size for entry in state.unpublished if entry.version > latest)

    def too_much_waits(self, states: dict[int, PartitionState]) -> bool:
        """Return whether the backlog exceeds one transaction, so that nothing may be added."""
        return sum(map(self._waiting, states.values())) > self._most_bytes

    def publish_all(
        self, states: dict[int, PartitionState], membership: object, keep_alive: Callable[[], None]
    ) -> None:
        """Publish all pending outputs, one transaction after another."""
        while any(each.unpublished for each in states.values()):
            self.begin(states, membership)
            self.confirm(states)
            keep_alive()

    def confirm(self, states: dict[int, PartitionState], *, wait: bool = True) -> None:
        """Mark the in-flight publication as confirmed in ``states`` once Kafka has committed it."""
        ended_us = self._publisher.finish(wait=wait)
        if ended_us is None:
            return
        for partition, version in self.under_way.items():
            states[partition] = states[partition].confirmed(version)
        self.under_way = {}
        self._observed.published(ended_us)

    def begin_anew(self, alive: Callable[[], None]) -> None:
        """Wait for the in-flight transaction, whatever its result, and fence an earlier producer.

        Kafka's committed offsets show the result.
        """
        self.under_way = {}
        try:
            self._publisher.finish()
        except PublishError as error:
            self._observed.failed(error)
            log.warning("a transaction failed", error=describe(error))
        alive()
        self._publisher.open()
        alive()
