"""Assemble the workers of all sources of a process, and run them until asked to stop."""

import secrets
import threading
import time
from collections.abc import Callable, Sequence

import structlog
from kafka import KafkaConsumer
from prometheus_client import CollectorRegistry, ProcessCollector

from livesegments.config.clients import group_consumer, kafka_config
from livesegments.config.settings import Settings
from livesegments.consumers.duplicate_instance import InstanceGuard
from livesegments.contracts.partitioning import Partitioning
from livesegments.ingest.definitions import Source, Sources
from livesegments.ingest.instrumentation import Instrumentation, ingest_metrics
from livesegments.ingest.preparation import check_topics, samples, source_config, transforms
from livesegments.ingest.sandbox import limit_memory
from livesegments.ingest.transform import Transform
from livesegments.ingest.worker import SourceWorker
from livesegments.monitoring.health_server import HealthServer
from livesegments.monitoring.watchdog import Heartbeat, Watchdog
from livesegments.producers.gc_policy import GarbageCollection
from livesegments.producers.publishing_process import HANG_SECONDS, PublishingProcess
from livesegments.signals import when_asked_to_end

log = structlog.get_logger()

WATCHDOG_SHARE, PATIENCE_SHARE = 0.9, 0.6
"""Fractions of the poll interval: of a loop iteration, and of a call that may hang."""
IDLE_SECONDS = 0.2


def group_of(settings: Settings, source: Source) -> str:
    """Return the consumer group of a source."""
    return f"{settings.group_id}-ingest-{source.name}"


def source_consumer(settings: Settings, source: Source, started_us: int = 0) -> KafkaConsumer:
    """Return a source's consumer; other members see ``started_us``, the start of its process."""
    group_id = group_of(settings, source)
    return group_consumer(settings, started_us, config=source_config(settings), group_id=group_id)


def run(
    settings: Settings, sources: Sources, chosen: Sequence[Source], *, accept_loss: bool = False
) -> None:
    """Run sources until SIGTERM or SIGINT; finish their transactions and leave their groups.

    Each source has a thread with a consumer, and a process that publishes. An error that no retry
    fixes ends all of them and is raised.
    """
    limit_memory(len(chosen))
    partitions = check_topics(settings, chosen)
    made = transforms(settings, sources, chosen)
    for _ in samples(settings, made):
        pass
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    metrics = ingest_metrics(registry)
    instance = settings.instance_id or secrets.token_hex(4)
    started_us = time.time_ns() // 1_000
    running: list[_Running] = []
    stopping = threading.Event()

    def leave(signal: str) -> None:
        stopping.set()
        log.info("finishing micro-batches, then leaving", signal=signal)

    try:
        for transform in made:
            observed = Instrumentation(metrics, transform.source.name)
            running.append(
                _Running(
                    settings,
                    transform,
                    observed,
                    instance=instance,
                    started_us=started_us,
                    partitions=partitions,
                    accept_loss=accept_loss,
                    over=stopping.set,
                )
            )
        when_asked_to_end(leave)
        with HealthServer(
            settings.http_port,
            registry,
            lambda: _live(running, settings.max_poll_interval_seconds),
            lambda: {each.name: each.worker.ready for each in running},
            host=settings.http_host,
        ) as health:
            log.info(
                "ingest starts",
                sources=[each.source.name for each in made],
                instance=instance,
                port=health.port,
            )
            for each in running:
                each.start()
            garbage = GarbageCollection()
            while not stopping.wait(IDLE_SECONDS):
                garbage.collect()
    finally:
        for each in running:
            each.stop()
    for each in running:
        if each.error is not None:
            raise each.error
    log.info("ingest left its groups")


def _live(running: "Sequence[_Running]", limit: float) -> tuple[bool, str]:
    checks = [each.heartbeat.within(limit)() for each in running]
    return all(good for good, _ in checks), "; ".join(said for _, said in checks)


class _Running:
    """The thread, the consumer and the publisher's process of one source.

    With an instance id, it waits for a predecessor to leave the group.
    """

    def __init__(
        self,
        settings: Settings,
        transform: Transform,
        observed: Instrumentation,
        *,
        instance: str,
        started_us: int,
        partitions: int,
        accept_loss: bool,
        over: Callable[[], None],
    ) -> None:
        self.name = transform.source.name
        self.error: BaseException | None = None
        self.heartbeat = Heartbeat()
        limit = settings.max_poll_interval_seconds
        self._watchdog = Watchdog(
            limit * WATCHDOG_SHARE,
            log=lambda line: log.critical("watchdog ends ingest", source=self.name, reason=line),
        )
        group = group_of(settings, transform.source)
        self._guard: InstanceGuard | None = None
        if settings.instance_id:
            self._guard = InstanceGuard(kafka_config(settings), group, instance, started_us)
            self._guard.wait_for_predecessor(settings.session_timeout_seconds)
        self._consumer = source_consumer(settings, transform.source, started_us)
        self._publisher = PublishingProcess(
            kafka_config(settings),
            f"{group}-{instance}",
            hang_seconds=min(HANG_SECONDS, limit * PATIENCE_SHARE),
        )
        self._transform, self._over = transform, over
        self.worker = SourceWorker(
            consumer=self._consumer,
            publisher=self._publisher,
            transform=transform,
            partitioning=Partitioning(settings.partitioner, partitions),
            max_records=settings.max_poll_records,
            observed=observed,
            alive=self._alive,
            accept_loss=accept_loss,
        )
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        self._alive()
        self._thread.start()

    def stop(self) -> None:
        """Finish the transaction, leave the group and end the process."""
        self.worker.stop()
        if self._thread.ident is not None:
            self._thread.join()
        self._watchdog.stop()
        self._publisher.kill()
        self._transform.query.close()

    def _alive(self) -> None:
        self.heartbeat.beat()
        self._watchdog.arm()
        if self._guard is not None:
            self._guard.look(self._consumer.group_metadata())

    def _run(self) -> None:
        try:
            self.worker.run()
            self._watchdog.disarm()
            self._publisher.close()
        except BaseException as error:  # noqa: BLE001 - raised in the main thread
            self.error = error
        finally:
            self._watchdog.disarm()
            self._consumer.close(autocommit=False, timeout_ms=5_000)
            self._over()
