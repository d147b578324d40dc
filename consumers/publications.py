"""What is on its way to Kafka: one publication at most, while the next round is worked on."""

import time

import structlog

from consumers.observation import Observation
from consumers.outages import describe
from consumers.owned import Owned
from producers.publisher import PublishError, Publishing

log = structlog.get_logger()

OFFSETS_SECONDS = 1.0
MOST_WAITING = 20_000
"""Outputs that may wait for a publication under way: each is a kilobyte here and in the store."""


class Publications:
    """Begins publications, and takes in that they have ended.

    Parameters
    ----------
    publisher
        Does the work.
    observation
        Told of what was published, and of what failed.
    """

    def __init__(self, publisher: Publishing, observation: Observation) -> None:
        self._publisher, self._observed = publisher, observation
        self._offsets_at = 0.0
        self.under_way: dict[int, int] = {}
        """Partition -> version, of what was begun and not yet confirmed."""

    def begin(
        self,
        owned: dict[int, Owned],
        membership: object,
        *,
        everything: bool = False,
        behind: bool = False,
    ) -> None:
        """Publish what has not been: outputs at once, offsets alone now and then.

        The publication before it must end first; ``owned`` is brought up to date by that. While
        there is much to fold, nobody waits for it until much waits to be published.
        """
        now = time.monotonic()
        new = [o for p, o in owned.items() if o.progress.version > self._latest(o)]
        due = everything or now - self._offsets_at >= OFFSETS_SECONDS
        told = [o.partition for o in new if due or o.unpublished or o.offsets_pending]
        if not told:
            self.confirm(owned, wait=False)
            return
        with self._observed.stage("publish"):
            self.confirm(owned, wait=not behind or self._waiting(new) >= MOST_WAITING)
            if self.under_way:
                return
            self._publisher.begin([owned[p].publication() for p in told], membership)
        if due:
            self._offsets_at = now
        self.under_way = {p: owned[p].progress.version for p in told}

    def _latest(self, owned: Owned) -> int:
        return max(owned.published, self.under_way.get(owned.partition, 0))

    def _waiting(self, owned: list[Owned]) -> int:
        return sum(
            len(outputs)
            for each in owned
            for version, outputs in each.unpublished
            if version > self._latest(each)
        )

    def confirm(self, owned: dict[int, Owned], *, wait: bool = True) -> None:
        """Take in, into ``owned``, that Kafka has what was begun to be published."""
        ended_us = self._publisher.finish(wait=wait)
        if ended_us is None:
            return
        for partition, version in self.under_way.items():
            owned[partition] = owned[partition].confirmed(version)
        self.under_way = {}
        self._observed.published(ended_us)

    def begin_anew(self) -> None:
        """Wait for what is under way, whatever becomes of it, and fence an earlier producer.

        Kafka's offsets tell what became of it.
        """
        self.under_way = {}
        try:
            self._publisher.finish()
        except PublishError as error:
            self._observed.failed(error)
            log.warning("a transaction failed", error=describe(error))
        self._publisher.open()
