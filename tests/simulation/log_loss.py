"""Logs that lose records: to retention, read or not, and by truncation of their end."""

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import takewhile
from random import Random

from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.contracts.topics import INPUTS, PURCHASES, STATES
from livesegments.contracts.validation import FUTURE_TOLERANCE_US
from tests.simulation.cluster import PARTITIONS
from tests.simulation.harness import SETTINGS, World
from tests.simulation.invariants import TILE_US
from tests.simulation.logs import Entry, Log


class LogLoss:
    """Removes records.

    It also determines whether a worker may then refuse to continue, from the remaining log: all
    deleted records arrived before its first record, and no event is younger than that.

    Parameters
    ----------
    world, rng
        The world that loses records, and the source of choices.
    note
        Called with a description of each loss.
    """

    def __init__(self, world: World, rng: Random, note: Callable[..., None]) -> None:
        self._world, self._rng, self._note = world, rng, note

    def retention(self) -> None:
        """Delete published purchases that arrived before the window, except the last of them."""
        log = self._log(PURCHASES)
        committed = self._world.cluster.group.offsets.get(log.tp)
        upto = committed.offset if committed and committed.metadata else 0
        told = (entry for entry in log.entries if entry.offset < upto)
        first = self._window_start(log)
        old = [e.offset for e in takewhile(lambda e: _newest_tile([e]) < first, told) if e.record]
        if len(old) > 1:
            self._note("retention")
            log.delete_before(old[-1])

    def deletion(self) -> None:
        """Delete an input up to any point, read or not, including markers at its end.

        Only once a customer there has a segment: before that, a lost store cannot detect the
        loss.
        """
        log = self._log(self._rng.choice((PURCHASES, PURCHASES, PURCHASES, *INPUTS)))
        if not self._world.cluster.logs[TopicPartition(STATES, log.tp.partition)].end:
            return
        if self._rng.random() < 0.3:
            log.mark()
        upto = self._rng.choice((log.stable_end, self._rng.randint(log.start, log.stable_end)))
        self._note("deletion", f"{log.tp.topic}-{log.tp.partition} below {upto}")
        log.delete_before(upto)
        if self._may_count(log):
            self._world.doubtful.add(log.tp.partition)

    def cut_end(self) -> None:
        """Truncate the end of an input: an unclean leader election, or a lagging replica."""
        log = self._log(self._rng.choice(INPUTS))
        if log.stable_end == log.end > log.start:
            self._note("cut end", f"{log.tp.topic}-{log.tp.partition}")
            log.cut(log.end - self._rng.choice((1, 1, 2, 5)))
            self._world.doubtful.add(log.tp.partition)
            self._world.loss_accepted = True  # reused offsets: a late reader notices nothing

    def _log(self, topic: str) -> Log:
        return self._world.cluster.logs[TopicPartition(topic, self._rng.randrange(PARTITIONS))]

    def _may_count(self, log: Log) -> bool:
        if log.tp.topic != PURCHASES:
            return bool(log.deleted)
        first = next((entry for entry in log.entries if entry.record), None)
        return first is None or _newest_tile([first]) >= self._window_start(log)

    def _window_start(self, log: Log) -> int:
        """Return the first tile of the window, computed from what a worker can read of the log."""
        readable, _ = log.read(log.start, len(log.entries))
        tiles = [_tile(record) for record in readable]
        if self._world.clock == "wall":
            tiles.append(self._world.inputs.wall_us // TILE_US)
        return max((tile for tile in tiles if tile is not None), default=0) - SETTINGS.tiles + 1


def _newest_tile(entries: Iterable[Entry]) -> int:
    """Return the last possible tile of an event that arrived with the given records or before."""
    arrived = max((e.record.timestamp for e in entries if e.record), default=0)
    return int((arrived * 1_000 + FUTURE_TOLERANCE_US) // TILE_US)


def _tile(record: ConsumerRecord) -> int | None:
    """Return the tile of a purchase, None for an invalid one."""
    try:
        purchase = json.loads(record.value)
        at = datetime.fromisoformat(purchase["occurred_at"])
    except (TypeError, ValueError):
        return None
    us = at.timestamp() * 1_000_000
    future = us > record.timestamp * 1_000 + FUTURE_TOLERANCE_US
    theirs = record.key is not None and record.key.decode() == purchase["customer_id"]
    return int(us // TILE_US) if theirs and not future else None
