"""A run: the seed says who goes on how far, what breaks when; then all heals and is judged."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from random import Random

from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.structs import OffsetAndMetadata

from contracts.topics import INPUTS, PURCHASES, STATES
from contracts.validation import FUTURE_TOLERANCE_US
from tests.simulation.cluster import PARTITIONS
from tests.simulation.edges import Edge, Fate
from tests.simulation.judge import TILE_US, faults, unsettled
from tests.simulation.world import SETTINGS, Worker, World

TURNS = 120
HEALING_TURNS = 500
POINTS = (1, 1, 2, 3, 5, 8, 13, 30, 80)
RATES = (0.0, 0.5, 1.0, 2.0, 4.0)
INSTANCES = ("a", "b", "c")
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


@dataclass
class Outcome:
    """What came of a run."""

    seed: int
    faults: list[str]
    schedule: list[str]
    injected: dict[str, int] = field(default_factory=dict)
    points: int = 0


class Chaos:
    """One run.

    Parameters
    ----------
    seed
        Of all chance in it.
    turns
        Length of the time in which things break.
    """

    def __init__(self, seed: int, turns: int = TURNS) -> None:
        self.seed, self._turns = seed, turns
        self.rng = Random(seed)
        self.rate = RATES[seed % len(RATES)]
        self.injected: dict[str, int] = {}
        self._healing = False
        self.world = World(self.rng, self.rng.choice(("event", "wall")), self._fate)
        self.world.while_waiting = self._while_waiting
        races: list[Callable[[], None]] = [
            *[self._freeze, self._lose_commits] * 3,
            *[self._crash, self._put_out, self._go_back],
        ]
        anything: list[Callable[[], None]] = [
            *[self._crash, self._freeze, self._put_out] * 3,
            *[self._lose_commits, self._go_back, self._retention] * 2,
            self._leave,
            self._join,
            self._empty_store,
            self._time_out_transactions,
            self._lose_offsets,
            self._reset_offsets,
            self._compact,
        ]
        self._breaks = races if seed % 3 == 2 else anything

    def run(self) -> Outcome:
        """Run it, and judge it."""
        with ExitStack() as stack:
            stack.enter_context(self.world.in_place())
            found = self._run()
        points = sum(worker.process.passed for worker in self.world.workers)
        return Outcome(self.seed, found, self.world.schedule, self.injected, points)

    def _run(self) -> list[str]:
        world = self.world
        for event in world.inputs.first():
            world.send(event)
        for instance in INSTANCES[: self.rng.choice((1, 2, 2, 2, 3))]:
            world.start(instance)
        for _ in range(self._turns):
            self._turn()
            self._happen()
            if died := self._died():
                return died
        offsets_lost = "offsets lost" in self.injected or "offsets reset" in self.injected
        return self._heal() or faults(world, offsets_lost=offsets_lost)

    # -- a turn

    def _turn(self) -> None:
        rng, world = self.rng, self.world
        for worker in world.workers:
            worker.asleep = max(0, worker.asleep - 1)
        awake = [worker for worker in world.workers if worker.alive and not worker.asleep]
        world.cluster.now += rng.expovariate(5.0)
        if awake:
            worker = rng.choice(awake)
            points = 60 if self._healing else rng.choice(POINTS)
            worker.step(points)
            self._note(f"{worker.name} goes on {points}, to {worker.process.point}")
        elif not any(worker.alive for worker in world.workers):
            world.start(rng.choice(INSTANCES))

    def _happen(self) -> None:
        """Let what the world does by itself happen."""
        rng, world = self.rng, self.world
        if rng.random() < 0.5 and not self._healing:
            for _ in range(rng.choice((1, 1, 3))):
                world.send(world.inputs.next())
        for _ in range(rng.choice((0, 1, 1, 2, 6))):
            world.cluster.mark_next()
        if rng.random() < 0.2:
            world.arrive()
        if rng.random() < 0.1:
            self._heartbeats()
        if rng.random() < 0.05 and not self._healing:
            self._upstream()
        world.cluster.expire()
        if not self._healing and rng.random() < 0.03 * self.rate:
            rng.choice(self._breaks)()

    def _while_waiting(self) -> None:
        if self.rng.random() < 0.3:
            self.world.cluster.mark_next()

    def _heartbeats(self) -> None:
        """Let members learn that they are out, and the group that members are gone."""
        for worker in self.world.workers:
            if worker.consumer is None:
                continue
            if worker.alive:
                worker.consumer.put_out()
            else:
                self.world.cluster.group.leave(worker.consumer.member)

    def _upstream(self) -> None:
        """Begin or end somebody's transaction on an input: it holds readers back while it lasts."""
        rng, world = self.rng, self.world
        cluster = world.cluster
        state = cluster.producers.get("upstream")
        if state is not None and state.transaction and not state.transaction.complete:
            if state.transaction.state == "ongoing":
                cluster.end("upstream", state.epoch, rng.choice(("commit", "abort")))
            return
        epoch = cluster.open_producer("upstream")
        assert epoch is not None
        cluster.take_part("upstream", epoch)
        for _ in range(rng.choice((1, 2))):
            topic, partition, key, value = world.inputs.next()
            cluster.wall_ms = world.inputs.wall_us // 1_000
            cluster.append("upstream", epoch, TopicPartition(topic, partition), [(key, value, [])])

    def _fate(self, edge: Edge, call: str) -> Fate:
        if self._healing or self.rng.random() > 0.01 * self.rate:
            return Fate.FINE
        fate = self.rng.choice((Fate.LOST, Fate.UNKNOWN, Fate.LATE))
        self._inject(f"{fate.value} call", f"{edge.name}: {call}")
        return fate

    def _note(self, what: str) -> None:
        self.world.schedule.append(f"{self.world.cluster.now:8.2f} {what}")

    def _inject(self, fault: str, where: str = "") -> None:
        self.injected[fault] = self.injected.get(fault, 0) + 1
        self._note(f"*** {fault} {where}")

    # -- what breaks

    def _someone(self) -> Worker | None:
        """Choose a worker, mostly brought to where it hurts."""
        alive = [worker for worker in self.world.workers if worker.alive]
        if not alive:
            return None
        worker = self.rng.choice(alive)
        if not worker.asleep and self.rng.random() < 0.6:
            where = self.rng.choice(SORE_POINTS)
            for _ in range(60):
                if worker.process.point == where:
                    break
                worker.step()
        return worker

    def _crash(self) -> None:
        if worker := self._someone():
            self._inject("crash", f"{worker.name} at {worker.process.point}")
            worker.crash()
            if self.rng.random() < 0.5 and worker.consumer:
                self.world.cluster.group.leave(worker.consumer.member)
            instance = worker.instance if self.rng.random() < 0.6 else self.rng.choice(INSTANCES)
            self.world.start(instance)

    def _freeze(self) -> None:
        """Freeze a worker; mostly the group goes on without it, and maybe another starts."""
        if worker := self._someone():
            worker.asleep = self.rng.choice((5, 15, 40, 80))
            self._inject("freeze", f"{worker.name} at {worker.process.point}")
            if worker.consumer and self.rng.random() < 0.7:
                self.world.cluster.group.leave(worker.consumer.member)
            if self.rng.random() < 0.5:
                self.world.start(self.rng.choice((worker.instance, *INSTANCES)))

    def _put_out(self) -> None:
        worker = self._someone()
        if worker and worker.consumer:
            self._inject("put out of the group", worker.name)
            self.world.cluster.group.leave(worker.consumer.member)

    def _leave(self) -> None:
        worker = self._someone()
        if worker and worker.segmenter:
            self._inject("leave", worker.name)
            worker.segmenter.stop()

    def _join(self) -> None:
        if sum(worker.alive for worker in self.world.workers) < 4:
            self._inject("join")
            self.world.start(self.rng.choice(INSTANCES))

    def _prefix(self) -> bytes:
        """Return the keys of one partition, or of all: each may be on a server of its own."""
        group = SETTINGS.group_id.encode()
        return self.rng.choice((b"", b"%s:{0}:" % group, b"%s:{1}:" % group))

    def _lose_commits(self) -> None:
        prefix = self._prefix()
        self._inject("lost commits", prefix.decode())
        self.world.database.lose(self.rng.choice((1, 1, 2, 3)), prefix)

    def _go_back(self) -> None:
        prefix = self._prefix()
        self._inject("older store", prefix.decode())
        self.world.database.lose(self.rng.randrange(1, 12), prefix)

    def _empty_store(self) -> None:
        prefix = self._prefix()
        self._inject("empty store", prefix.decode())
        self.world.database.lose(-1, prefix)

    def _time_out_transactions(self) -> None:
        self._inject("transactions time out")
        self.world.cluster.expire(everything=True)

    def _end_group(self) -> None:
        """Offsets can be lost or reset only while nobody is in the group; zombies may come back."""
        cluster = self.world.cluster
        for worker in list(self.world.workers):
            if not worker.alive:
                continue
            if worker.consumer:
                cluster.group.leave(worker.consumer.member)
            if self.rng.random() < 0.4:
                worker.asleep = self.rng.choice((5, 15, 40))
            else:
                worker.crash()
            self.world.start(worker.instance)

    def _lose_offsets(self) -> None:
        self._inject("offsets lost")
        self._end_group()
        gone = self.rng.choice(([0], [1], [0, 1]))
        offsets = self.world.cluster.group.offsets
        for tp in [tp for tp in offsets if tp.partition in gone]:
            del offsets[tp]

    def _reset_offsets(self) -> None:
        self._inject("offsets reset")
        self._end_group()
        partition = self.rng.randrange(PARTITIONS)
        for topic in self.rng.sample(INPUTS, self.rng.randint(1, 3)):
            tp = TopicPartition(topic, partition)
            log = self.world.cluster.logs[tp]
            offset = self.rng.randint(log.start, log.end)
            self.world.cluster.group.offsets[tp] = OffsetAndMetadata(offset, "", -1)

    def _retention(self) -> None:
        """Delete purchases that are told and older than the window, but for one that is older."""
        partition = self.rng.randrange(PARTITIONS)
        tp = TopicPartition(PURCHASES, partition)
        committed = self.world.cluster.group.offsets.get(tp)
        records, _ = self.world.cluster.logs[tp].read(0, 1_000_000)
        told = [
            r for r in records if committed and committed.metadata and r.offset < committed.offset
        ]
        tiles = [(record.offset, _tile(record)) for record in told]
        first = max((t for _, t in tiles if t is not None), default=0) - SETTINGS.tiles + 1
        past = takewhile(lambda each: each[1] is None or each[1] < first, tiles)
        old = [offset for offset, tile in past if tile is not None]
        if len(old) > 1:
            self._inject("retention")
            self.world.cluster.logs[tp].delete_before(old[-1])

    def _compact(self) -> None:
        partition = self.rng.randrange(PARTITIONS)
        log = self.world.cluster.logs[TopicPartition(STATES, partition)]
        self._inject("compaction")
        log.compact(self.rng.randint(log.start, log.end), tombstones=self.rng.random() < 0.5)

    # -- healing

    def _died(self) -> list[str]:
        return [
            f"worker {w.name} ended by {w.process.error!r}"
            for w in self.world.workers
            if w.process.error is not None
        ]

    def _heal(self) -> list[str]:
        """Let nothing more break, and everything come to rest; return what does not."""
        world = self.world
        self._note("--- heals")
        self._healing = True
        while world.late:
            world.arrive()
        self._heartbeats()
        for _ in range(3):
            world.send(world.inputs.next())
        for worker in world.workers:
            worker.asleep = 0
        zombies = {worker.name for worker in world.workers if worker.alive}
        world.start("healer")
        for turn in range(HEALING_TURNS):
            self._turn()
            self._happen()
            if died := self._died():
                return died
            if turn > 4 * len(zombies) and turn % 3 == 0 and not unsettled(world):
                return []
        return [f"does not come to rest: {unsettled(world)}"]


def _tile(record: ConsumerRecord) -> int | None:
    """Return the tile of a purchase, None of what is none."""
    try:
        purchase = json.loads(record.value)
        at = datetime.fromisoformat(purchase["occurred_at"])
    except (TypeError, ValueError):
        return None
    us = at.timestamp() * 1_000_000
    future = us > record.timestamp * 1_000 + FUTURE_TOLERANCE_US
    theirs = record.key.decode() == purchase["customer_id"]
    return int(us // TILE_US) if theirs and not future else None
