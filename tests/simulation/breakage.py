"""Faults of a world, each at a randomly chosen place."""

from collections.abc import Callable, Sequence
from random import Random

from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from livesegments.contracts.topics import INPUTS, OUTPUTS, PROFILES, STATES
from tests.simulation.cluster import PARTITIONS
from tests.simulation.harness import SETTINGS, SimulatedWorker, World
from tests.simulation.log_loss import LogLoss

INSTANCES = ("a", "b", "c")
MOST_WORKERS = 5
MINUTE_US, DAY_US = 60_000_000, 86_400_000_000
CLOCK_ERRORS_US = (-730 * DAY_US, -10 * MINUTE_US, 10 * MINUTE_US, 3 * DAY_US, 730 * DAY_US)
SORE_POINTS = (
    "before redis.pipeline of evalsha",
    "before redis.evalsha",
    "after redis.evalsha",
    "before kafka.append",
    "before kafka.send_offsets",
    "after kafka.send_offsets",
    "before kafka.commit_transaction",
    "after kafka.commit_transaction",
    "after kafka.committed",
    "after kafka.poll",
)


class Breakage:
    """Injects faults.

    Parameters
    ----------
    world, rng
        The world to break, and the source of choices.
    note
        Called with a description of each fault.
    """

    def __init__(self, world: World, rng: Random, note: Callable[..., None]) -> None:
        self._world, self._rng, self._note = world, rng, note
        self._logs = LogLoss(world, rng, note)

    def races(self) -> list[Callable[[], None]]:
        """Return the faults that make two owners and lost commits meet."""
        return [
            *[self.freeze, self.lose_commits] * 3,
            *[self.crash, self.put_out, self.go_back],
        ]

    def anything(self) -> list[Callable[[], None]]:
        """Return all faults, the likelier ones repeated."""
        return [
            *[self.crash, self.freeze, self.put_out] * 3,
            *[self.lose_commits, self.go_back, self._logs.retention] * 2,
            *[self.compact_profiles, self.refuse_outputs, self.set_clock] * 2,
            self.leave,
            self.join,
            self.empty_store,
            self.time_out_transactions,
            self.lose_offsets,
            self.lose_both,
            self.reset_offsets,
            self.compact,
            self.set_store_clock,
        ]

    def short_logs(self) -> list[Callable[[], None]]:
        """Return all faults, and logs that no longer hold necessary records."""
        return [
            *self.anything(),
            *[self._logs.deletion] * 8,
            *[self._logs.cut_end] * 3,
            self.empty_store,
        ]

    def _start(self, instance: str) -> None:
        if sum(worker.alive for worker in self._world.workers) < MOST_WORKERS:
            self._world.start(instance)

    def _someone(self) -> SimulatedWorker | None:
        """Choose a worker, usually advanced to a vulnerable point."""
        alive = [worker for worker in self._world.workers if worker.alive]
        if not alive:
            return None
        worker = self._rng.choice(alive)
        if not worker.asleep and self._rng.random() < 0.6:
            where = self._rng.choice(SORE_POINTS)
            for _ in range(60):
                if worker.process.point == where:
                    break
                worker.step()
        return worker

    def crash(self) -> None:
        """Kill a worker where it is; the group may notice at once; another one is started."""
        if worker := self._someone():
            self._note("crash", f"{worker.name} at {worker.process.point}")
            worker.crash()
            if self._rng.random() < 0.5 and worker.consumer:
                self._world.cluster.group.leave(worker.consumer.member)
            instance = worker.instance if self._rng.random() < 0.6 else self._rng.choice(INSTANCES)
            self._start(instance)

    def freeze(self) -> None:
        """Freeze a worker; usually the group continues without it, and another one may start."""
        if worker := self._someone():
            worker.asleep = self._rng.choice((5, 15, 40, 80))
            self._note("freeze", f"{worker.name} at {worker.process.point}")
            if worker.consumer and self._rng.random() < 0.7:
                self._world.cluster.group.leave(worker.consumer.member)
            if self._rng.random() < 0.5:
                self._start(self._rng.choice((worker.instance, *INSTANCES)))

    def put_out(self) -> None:
        """Remove a worker from the group before it knows."""
        worker = self._someone()
        if worker and worker.consumer:
            self._note("put out of the group", worker.name)
            self._world.cluster.group.leave(worker.consumer.member)

    def leave(self) -> None:
        """Ask a worker to stop."""
        worker = self._someone()
        if worker and worker.worker:
            self._note("leave", worker.name)
            worker.worker.stop()

    def join(self) -> None:
        """Start one more worker."""
        self._note("join")
        self._start(self._rng.choice(INSTANCES))

    def _prefix(self) -> bytes:
        """Return the keys of one partition, or of all: each may be on a server of its own."""
        group = SETTINGS.group_id.encode()
        return self._rng.choice((b"", b"%s:{0}:" % group, b"%s:{1}:" % group))

    def lose_commits(self) -> None:
        """Lose the store's last commits."""
        prefix = self._prefix()
        self._note("lost commits", prefix.decode())
        self._world.database.lose(self._rng.choice((1, 1, 2, 3)), prefix)

    def go_back(self) -> None:
        """Restore a much older state of the store."""
        prefix = self._prefix()
        self._note("older store", prefix.decode())
        self._world.database.lose(self._rng.randrange(1, 12), prefix)

    def empty_store(self) -> None:
        """Lose the whole store."""
        prefix = self._prefix()
        self._note("empty store", prefix.decode())
        self._world.database.lose(-1, prefix)

    def time_out_transactions(self) -> None:
        """Abort the open transactions and fence their producers."""
        self._note("transactions time out")
        self._world.cluster.expire(everything=True)

    def _end_group(self) -> None:
        """Empty the group, so that offsets can be lost or reset; zombies may return."""
        cluster = self._world.cluster
        for worker in list(self._world.workers):
            if not worker.alive:
                continue
            if worker.consumer:
                cluster.group.leave(worker.consumer.member)
            if self._rng.random() < 0.4:
                worker.asleep = self._rng.choice((5, 15, 40))
            else:
                worker.crash()
            self._start(worker.instance)

    def set_clock(self) -> None:
        """Set a worker's wall clock wrong, or right again."""
        if worker := self._someone():
            wrong = not worker.clock_error_us or self._rng.random() < 0.3
            # Between two readings of a clock that jumps ahead lies any time that Redis may show.
            hidden = [
                us for us in CLOCK_ERRORS_US if us > 0 and self._world.store_clock_error_us > 0
            ]
            hidden.append(self._world.store_clock_error_us)
            worker.clock_error_us = self._wrong_clock(hidden) if wrong else 0
            what = f"{worker.name} off by {worker.clock_error_us / MINUTE_US:.0f} minutes"
            self._note("wrong clock" if wrong else "right clock", what)

    def set_store_clock(self) -> None:
        """Set the store server's clock wrong, or right again; while wrong, no worker may work."""
        wrong = not self._world.store_clock_error_us
        workers_us = [worker.clock_error_us for worker in self._world.workers]
        self._world.store_clock_error_us = self._wrong_clock(workers_us) if wrong else 0
        self._note("wrong clock of the store" if wrong else "right clock of the store")

    def _wrong_clock(self, hidden_us: Sequence[int]) -> int:
        """Return an error, but none of those that a second wrong clock would hide."""
        return self._rng.choice([us for us in CLOCK_ERRORS_US if us not in hidden_us])

    def lose_offsets(self) -> None:
        """Lose the group's offsets."""
        self._note("offsets lost")
        self._end_group()
        gone = self._rng.choice(([0], [1], [0, 1]))
        offsets = self._world.cluster.group.offsets
        for tp in [tp for tp in offsets if tp.partition in gone]:
            del offsets[tp]

    def lose_both(self) -> None:
        """Lose the store and the group's offsets at once: only the topics are left."""
        self.lose_offsets()
        self.empty_store()

    def reset_offsets(self) -> None:
        """Reset offsets to other values, as an operator can."""
        self._note("offsets reset")
        self._end_group()
        partition = self._rng.randrange(PARTITIONS)
        for topic in self._rng.sample(INPUTS, self._rng.randint(1, 3)):
            tp = TopicPartition(topic, partition)
            log = self._world.cluster.logs[tp]
            offset = self._rng.randint(log.start, log.end)
            self._world.cluster.group.offsets[tp] = OffsetAndMetadata(offset, "", -1)

    def refuse_outputs(self) -> None:
        """Let some of the outputs reject records for a long time."""
        refused = self._rng.sample(OUTPUTS, self._rng.choice((1, 1, 3)))
        self._note("outputs refused", " ".join(refused))
        self._world.cluster.refusing.update(refused)

    def compact(self) -> None:
        """Compact the states."""
        partition = self._rng.randrange(PARTITIONS)
        log = self._world.cluster.logs[TopicPartition(STATES, partition)]
        self._note("compaction")
        log.compact(self._rng.randint(log.start, log.end), tombstones=self._rng.random() < 0.5)

    def compact_profiles(self) -> None:
        """Compact the profiles, dropping tombstones that every restorable store has applied."""
        partition = self._rng.randrange(PARTITIONS)
        log = self._world.cluster.logs[TopicPartition(PROFILES, partition)]
        upto, tombstones = self._rng.randint(log.start, log.end), self._rng.random() < 0.5
        self._note("compaction of profiles")
        if tombstones:
            # Tombstones stay for a week, and an older store has to be rebuilt.
            upto = min(upto, self._folded(partition))
        log.compact(upto, tombstones=tombstones)

    def _folded(self, partition: int) -> int:
        """Return the profiles offset of a partition that all of the last stores have reached."""
        key = f"{SETTINGS.group_id}:{{{partition}}}:progress".encode()
        progresses = [hashes.get(key) for hashes, _ in self._world.database.history]
        return min((int(each[b"profiles"]) for each in progresses if each), default=0)
