"""Workers of one deployment on one cluster and one store, each advanced step by step."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from random import Random
from typing import Any, cast
from unittest.mock import patch

import structlog
from kafka import TopicPartition
from kafka.errors import KafkaError
from redis.exceptions import RedisError

from livesegments.app import deployment, processing_config
from livesegments.config.clients import group_consumer, kafka_config
from livesegments.config.settings import Settings
from livesegments.consumers.clocks import Clocks
from livesegments.consumers.instrumentation import Instrumentation
from livesegments.consumers.modelling.generations import Generations
from livesegments.consumers.modelling.global_model import DefinitionsReader, GlobalModel
from livesegments.consumers.recovery.reconciliation import Reconciler
from livesegments.consumers.worker import Worker
from livesegments.contracts.partitioning import Partitioning
from livesegments.features.segmentation import Segmentation
from livesegments.monitoring.metrics import Metrics
from livesegments.store.partitions import Partitions
from livesegments.store.refit_requests import RefitRequests
from tests.segmentations import PERSONAS
from tests.simulation.cluster import PARTITIONS, Cluster
from tests.simulation.database import Database, Redis
from tests.simulation.edges import Edge, Fate, Process
from tests.simulation.inputs import Event, Inputs
from tests.simulation.kafka_consumer import Consumer
from tests.simulation.kafka_producer import Producer
from tests.simulation.outbox import Outbox
from tests.simulation.publishing import LatePublisher

SETTINGS = Settings(
    group_id="group",
    window_days=4,
    tiles=4,
    warmup_customers=5,
    sweep_customers=3,
    dedup_events=7,
    retention_days=8,
    max_poll_records=4,
)

TRANSACTION_BYTES = 4_900
"""A few outputs, so that an outbox of some versions takes several transactions."""


class SimulatedWorker:
    """One process of the service.

    Parameters
    ----------
    world
        The surrounding world.
    name
        Its own name.
    instance
        Instance of its transactional id, which an earlier or a still running worker may share.
    """

    def __init__(self, world: "World", name: str, instance: str) -> None:
        self.world, self.name, self.instance = world, name, instance
        self.worker: Worker | None = None
        self.consumer: Consumer | None = None
        self.edge = Edge(name, world.fate, world.late.append, self._pause, self._wait)
        self.process = Process(name, self._main)
        self.asleep = 0
        """Turns of the schedule for which it is frozen."""
        self.clock_error_us = 0
        """By how much its wall clock is ahead; negative behind."""

    @property
    def alive(self) -> bool:
        """True while the process runs or can be resumed."""
        return not self.process.ended

    def step(self, points: int = 1) -> None:
        """Run past that many points."""
        self.world.running = self
        try:
            self.process.resume(points)
        finally:
            self.world.running = None

    def crash(self) -> None:
        """End it where it is. The group has to notice by itself."""
        self.process.kill()

    def _pause(self, point: str) -> None:
        self.world.cluster.now += 0.001
        self.process.pause(point)

    def _wait(self, seconds: float) -> None:
        self.world.cluster.now += seconds
        self.world.while_waiting()
        self.process.pause("waiting")

    def _main(self) -> None:
        # As in livesegments/app.py, without signals and the health server.
        world = self.world
        more = {"instance_id": self.name, "clock": world.clock, "group_id": world.group_id}
        settings = SETTINGS.model_copy(update=more)
        config = kafka_config(settings)
        segmentation = world.segmentation
        how = replace(processing_config(settings), segmentation=segmentation)
        agreed = replace(
            deployment(settings, PARTITIONS),
            segments=segmentation.segment_ids,
            features=segmentation.feature_names,
        )
        how = replace(how, partitioning=Partitioning(settings.partitioner, PARTITIONS))
        store: Any = Partitions(Redis(world.database, self.edge), settings.group_id)  # type: ignore[arg-type]
        consumer = self.consumer = group_consumer(settings)
        try:
            store.agree(agreed)
            definitions = DefinitionsReader(config, how.segmentation)
        except (KafkaError, RedisError):
            return  # it exits, and is restarted
        transactional_id = f"{settings.group_id}-{self.instance}"
        publisher = LatePublisher(config, transactional_id, lambda: world.is_late())
        clocks = Clocks(
            store, config, PARTITIONS, lambda: world.inputs.wall_us + self.clock_error_us
        )
        self.worker = Worker(
            consumer=consumer,
            publisher=publisher,
            store=store,
            definitions=definitions,
            model=GlobalModel(store, PARTITIONS, how.segmentation),
            generations=Generations(
                store,
                PARTITIONS,
                how,
                requests=RefitRequests(store.redis, settings.group_id),
                metrics=cast(Metrics, Unobserved()),
                warmup_customers=settings.warmup_customers,
            ),
            reconciler=Reconciler(
                store,
                consumer,
                config,
                how,
                agreed,
                now_us=clocks.now_us,
                accept_loss=world.loss_accepted,
            ),
            observation=cast(Instrumentation, Unobserved()),
            config=how,
            max_records=settings.max_poll_records,
            transaction_bytes=TRANSACTION_BYTES,
            alive=lambda: self._pause("between rounds"),
            clocks=clocks,
        )
        self.worker.run()
        publisher.close()
        consumer.close(autocommit=False)


class World:
    """Everything outside the workers, and the workers.

    Parameters
    ----------
    rng
        Source of all random choices.
    clock
        Clock at which windows end.
    fate
        Decides the fate of each call of a worker.
    segmentation
        Features and segments of the deployment.

    Attributes
    ----------
    while_waiting
        Called while a worker waits.
    doubtful
        Partitions whose log has lost records that may count: a worker may refuse to continue.
    loss_accepted
        Workers are started with the loss accepted, and continue.
    group_id
        Group of the workers that are started.
    is_late
        Returns whether a running publication takes longer.
    """

    def __init__(
        self,
        rng: Random,
        clock: str = "event",
        fate: Callable[[Edge, str], Fate] = lambda _edge, _call: Fate.FINE,
        segmentation: Segmentation = PERSONAS,
    ) -> None:
        self.rng, self.clock, self.fate, self.segmentation = rng, clock, fate, segmentation
        self.outbox = Outbox(TRANSACTION_BYTES)
        self.cluster = Cluster(rng, self.outbox.published)
        self.inputs = Inputs(rng)
        self.store_clock_error_us = 0
        """By how much the clock of the store's server is ahead; negative behind."""
        self.database = Database(
            rng,
            self.outbox.committed,
            lambda: self.inputs.wall_us + self.store_clock_error_us,
        )
        self.late: list[Callable[[], object]] = []
        self.workers: list[SimulatedWorker] = []
        self.running: SimulatedWorker | None = None
        self.while_waiting: Callable[[], object] = self.cluster.mark_next
        self.is_late: Callable[[], bool] = lambda: False
        self.schedule: list[str] = []
        self.doubtful: set[int] = set()
        self.loss_accepted = False
        self.group_id = SETTINGS.group_id
        self._started = 0
        self._meanwhile: Callable[[], None] = lambda: None
        self._edge = Edge("the judge", wait=self._advance)

    def start(self, instance: str) -> SimulatedWorker:
        """Start a worker; it does nothing until it is stepped."""
        self._started += 1
        worker = SimulatedWorker(self, f"{instance}-{self._started}", instance)
        self.workers.append(worker)
        return worker

    def send(self, event: Event) -> None:
        """Append an event to its topic."""
        topic, partition, key, value = event
        self.cluster.wall_ms = self.inputs.wall_us // 1_000
        log = self.cluster.logs[TopicPartition(topic, partition)]
        log.append(key, value, [], self.cluster.wall_ms)

    def arrive(self) -> None:
        """Apply the effect of one late call, if still possible."""
        if self.late:
            effect = self.late.pop(self.rng.randrange(len(self.late)))
            with contextlib.suppress(KafkaError, RedisError):
                effect()

    def end(self) -> None:
        """End all running processes."""
        for worker in self.workers:
            worker.crash()

    def client(self) -> Redis:
        """Return a client of the store without faults."""
        return Redis(self.database, self._edge)

    def let_go_on(self, happens: Callable[[], None]) -> None:
        """Run a callback before and after each call of a non-worker, and while it waits."""
        self._edge.pause = lambda _point: happens()
        self._meanwhile = happens

    # -- replacements for dependencies that the service constructs itself

    def _advance(self, seconds: float) -> None:
        self.cluster.now += seconds
        self._meanwhile()

    def _edge_of(self, config: dict[str, Any]) -> Edge:
        name = config["client_id"].removeprefix("livesegments-")
        return next((w.edge for w in self.workers if w.name == name), self._edge)

    def _consumer(self, **config: Any) -> Consumer:
        return Consumer(self.cluster, self._edge_of(config), self.rng, **config)

    def _producer(self, **config: Any) -> Producer:
        return Producer(self.cluster, self._edge_of(config), **config)

    def _sleep(self, seconds: float) -> None:
        (self.running.edge if self.running else self._edge).wait(seconds)

    @contextmanager
    def in_place(self) -> Iterator["World"]:
        """Patch the service's Kafka clients, threads and time with this world's."""
        logging = structlog.get_config()
        with ExitStack() as stack:
            for name in (
                "livesegments.consumers.log_reader.ColumnarConsumer",
                "livesegments.config.clients.ColumnarConsumer",
                "livesegments.operations.verify.run.KafkaConsumer",
                "livesegments.operations.verify.kafka_log.KafkaConsumer",
                "livesegments.operations.verify.kafka_log.TolerantConsumer",
            ):
                stack.enter_context(patch(name, self._consumer))
            stack.enter_context(
                patch("livesegments.producers.publisher.BatchProducer", self._producer)
            )
            counts = Counter(tp.topic for tp in self.cluster.logs)
            stack.enter_context(
                patch("livesegments.operations.verify.run.partition_counts", lambda _: counts)
            )
            stack.enter_context(patch("livesegments.producers.publisher.Thread", AtOnce))
            stack.enter_context(
                patch("livesegments.consumers.modelling.refit.ThreadPoolExecutor", AtOnce)
            )
            stack.enter_context(patch.object(time, "monotonic", lambda: self.cluster.now))
            stack.enter_context(patch.object(time, "sleep", self._sleep))
            stack.callback(structlog.configure, **logging)
            structlog.configure(processors=[self._log])
            stack.callback(self.end)
            yield self

    def _log(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        told = " ".join(f"{name}={value}" for name, value in event.items() if name != "event")
        self.schedule.append(f"    {event['event']} {told}")
        raise structlog.DropEvent


class AtOnce:
    """A thread, or an executor of them, that finishes its work at the start."""

    def __init__(self, *_: Any, **work: Any) -> None:
        self._work = work

    def start(self) -> None:
        self._work["target"](*self._work["args"])

    def join(self, _timeout: float) -> None:
        pass

    def submit(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        try:
            done.set_result(function(*arguments))
        except ValueError as error:
            done.set_exception(error)
        return done


class Unobserved:
    """Replaces the metrics, which decide nothing and take a quarter of the time."""

    def stage(self, _stage: str) -> AbstractContextManager[object]:
        return nullcontext()

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_: None
