"""A run: a seed chooses steps and faults; then all faults end and the result is checked."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random

from kafka import TopicPartition

from livesegments.consumers.data_loss import DataLossError
from livesegments.features.segmentation import Segmentation
from tests.segmentations import PERSONAS, RFM, SIZES
from tests.simulation.breakage import INSTANCES, Breakage
from tests.simulation.edges import Edge, Fate
from tests.simulation.harness import World
from tests.simulation.invariants import faults, unsettled

TURNS = 120
HEALING_TURNS = 500
POINTS = (1, 1, 2, 3, 5, 8, 13, 30, 80)
SEGMENTATIONS = (*[PERSONAS] * 3, RFM, *SIZES)
RATES = (0.0, 0.5, 1.0, 2.0, 4.0)


@dataclass
class Outcome:
    """Outcome of a run."""

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
        Seed of all random choices.
    turns
        Number of turns with faults.
    segmentation
        Of the deployment; by default the seed chooses one.
    """

    def __init__(
        self, seed: int, turns: int = TURNS, segmentation: Segmentation | None = None
    ) -> None:
        self.seed, self._turns = seed, turns
        self.rng = Random(seed)
        self.rate = RATES[seed % len(RATES)]
        self.injected: dict[str, int] = {}
        self._healing = False
        self.refused = 0
        drawn = Random(f"segmentation {seed}").choice(SEGMENTATIONS)
        clock = self.rng.choice(("event", "wall"))
        self.world = World(self.rng, clock, self._fate, segmentation or drawn)
        self.world.while_waiting = self._while_waiting
        self.world.is_late = lambda: self.rng.random() < 0.5
        breakage = Breakage(self.world, self.rng, self._inject)
        kinds = (breakage.anything, breakage.short_logs, breakage.races)
        self._breaks = kinds[seed % len(kinds)]()

    def run(self) -> Outcome:
        """Run it and check the result."""
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
            self._note(f"{worker.name} continues {points}, to {worker.process.point}")
        elif not any(worker.alive for worker in world.workers):
            world.start(rng.choice(INSTANCES))

    def _happen(self) -> None:
        """Run the world's background effects."""
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
        if rng.random() < 0.02:
            world.cluster.refusing.clear()
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
        """Begin or end an upstream transaction on an input: while open, it holds readers back."""
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

    # -- recovery

    def _died(self) -> list[str]:
        """Restart workers that rightly refused to continue; report all others that exited."""
        world = self.world
        for worker in list(world.workers):
            error = worker.process.error
            if isinstance(error, DataLossError) and error.partition in world.doubtful:
                self._note(f"{worker.name} refuses: {error}")
                self.refused += 1
                worker.process.error, world.loss_accepted = None, True
                world.start(worker.instance)
        return [
            f"worker {w.name} ended by {w.process.error!r}"
            for w in self.world.workers
            if w.process.error is not None
        ]

    def _heal(self) -> list[str]:
        """End all faults and let the world come to rest; return the work that remains."""
        world = self.world
        self._note("--- heals")
        self._healing = True
        world.cluster.refusing.clear()
        while world.late:
            world.arrive()
        self._heartbeats()
        for _ in range(3):
            world.send(world.inputs.next())
        world.store_clock_error_us = 0
        for worker in world.workers:
            worker.asleep = worker.clock_error_us = 0
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
