"""Assemble a worker from the settings, and run it until it is asked to stop."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector

from livesegments import __version__
from livesegments.config.clients import group_consumer, kafka_config, redis_client
from livesegments.config.connectivity import check_credentials, reach_redis
from livesegments.config.settings import Settings
from livesegments.consumers.clocks import Clocks
from livesegments.consumers.duplicate_instance import InstanceGuard
from livesegments.consumers.instrumentation import Instrumentation
from livesegments.consumers.log_reader import STALL_SECONDS
from livesegments.consumers.modelling.generations import Generations
from livesegments.consumers.modelling.global_model import DefinitionsReader, GlobalModel
from livesegments.consumers.modelling.initial_fit import draw
from livesegments.consumers.recovery.reconciliation import Reconciler
from livesegments.consumers.worker import Worker
from livesegments.contracts.partitioning import Partitioning
from livesegments.contracts.topics import INPUTS, OUTPUTS, check_partition_counts
from livesegments.domain import Hysteresis, ProcessingConfig
from livesegments.features.window import Tiling
from livesegments.monitoring.health_server import HealthServer
from livesegments.monitoring.metrics import Metrics
from livesegments.monitoring.watchdog import Heartbeat, Watchdog
from livesegments.operations.consumer_group import count_workers
from livesegments.operations.topics import check_allowed, check_transactions, partition_counts
from livesegments.producers.gc_policy import GarbageCollection
from livesegments.producers.publishing_process import HANG_SECONDS, PublishingProcess
from livesegments.signals import when_asked_to_end
from livesegments.store.deployment import Deployment, UnknownSegmentError
from livesegments.store.partitions import Partitions
from livesegments.store.refit_requests import RefitRequests
from livesegments.topic_prefix import open_admin

log = structlog.get_logger()

WATCHDOG_SHARE = 0.9
"""Fraction of the poll interval: a longer loop iteration ends the worker."""

PATIENCE_SHARE = 0.6
"""Fraction of the poll interval: a call that hangs longer is retried, before the watchdog acts."""

PROBE_SECONDS = 0.5
"""Orchestrators usually allow ``/readyz`` one second."""


def patience(seconds: float, settings: Settings) -> float:
    """Return the timeout of a call that may hang: ``seconds``, or less for short poll intervals."""
    return min(seconds, settings.max_poll_interval_seconds * PATIENCE_SHARE)


def processing_config(settings: Settings) -> ProcessingConfig:
    """Return the processing configuration."""
    layout = Tiling(settings.window_days, settings.tiles)
    stretch = min(settings.sweep_customers, settings.change_rate or settings.sweep_customers)
    return ProcessingConfig(
        layout=layout,
        switching=Hysteresis(
            margin=settings.switch_margin,
            min_dwell_us=round(settings.min_dwell.total_seconds() * 1_000_000),
        ),
        event_clock=settings.clock == "event",
        currency=settings.currency,
        group_id=settings.group_id,
        segmentation=settings.read_segmentation(),
        sweep_chunk=stretch,
        max_changes_per_second=settings.change_rate,
        retention_tiles=layout.tiles_in(settings.days_kept),
        dedup_events=settings.dedup_events,
        consent_required=settings.consent == "required",
    )


def deployment(settings: Settings, partitions: int) -> Deployment:
    """Return the settings that all workers of the deployment must share."""
    segmentation = settings.read_segmentation()
    return Deployment(
        partitions=partitions,
        window_days=settings.window_days,
        tiles=settings.tiles,
        currency=settings.currency,
        dedup_events=settings.dedup_events,
        topic_prefix=settings.topic_prefix,
        segments=segmentation.segment_ids,
        features=segmentation.feature_names,
        consent=settings.consent,
        partitioner=settings.partitioner,
        clock=settings.clock,
    )


def now_us() -> int:
    """Return the wall clock time, in microseconds."""
    return time.time_ns() // 1_000


def _checked_partitions(settings: Settings, clients: Mapping[str, Any]) -> int:
    """Return the number of partitions, once topics, transactions and permissions are checked."""
    partitions = check_partition_counts(partition_counts(clients), settings.topic_prefix)
    check_transactions(clients)
    check_allowed(clients, read=[*INPUTS, *OUTPUTS], write=OUTPUTS)
    return partitions


def _end_history(store: Partitions, clients: Mapping[str, Any], clock: str) -> None:
    """Switch the store from the event clock to the wall clock, unless workers still run.

    One worker with the wall clock beside others would move all customers of its partitions out of a
    window of history.
    """
    agreed = store.deployment()
    if agreed is None or (agreed.clock, clock) != ("event", "wall"):
        return
    with open_admin(**clients) as admin:
        if not count_workers(admin, store.group_id):
            store.end_history()


def _import_ahead(model: GlobalModel) -> None:
    """Import the libraries that the model needs first.

    The first fit needs SciPy; a model that is not provisional, River's detectors, which import it
    too. Imported when needed, they would delay a micro-batch by up to a second, and after joining,
    the partitions that others give up for this worker.
    """
    settled = model.generation is not None and not model.generation.provisional
    import_module("river.drift" if settled else "scipy.optimize")


def run(
    settings: Settings,
    *,
    accept_loss: bool = False,
    done: Callable[[], bool] = lambda: False,
) -> None:
    """Run a worker until SIGTERM, SIGINT or ``done()``; finish the iteration and leave the group.

    ``done`` is called in every iteration.
    """
    config, clients = processing_config(settings), kafka_config(settings)
    instance, started_us = settings.instance_id or secrets.token_hex(4), now_us()
    store = Partitions(reach_redis(lambda: redis_client(settings)), settings.group_id)
    probe = Partitions(
        reach_redis(lambda: redis_client(settings, PROBE_SECONDS)), settings.group_id
    )
    guard = InstanceGuard(clients, settings.group_id, instance, started_us)
    if settings.instance_id:
        guard.wait_for_predecessor(settings.session_timeout_seconds)
    consumer = group_consumer(settings, started_us)
    publisher = PublishingProcess(
        clients,
        f"{settings.group_id}-{instance}",
        hang_seconds=patience(HANG_SECONDS, settings),
    )
    try:
        partitions = _checked_partitions(settings, clients)
        config = replace(config, partitioning=Partitioning(settings.partitioner, partitions))
        definitions = DefinitionsReader(clients, config.segmentation)
        model = GlobalModel(store, partitions, config.segmentation)
        # Before an empty store accepts segment ids that differ from the published ones.
        UnknownSegmentError.check(definitions.latest, config.segment_ids)
        model.adopt(definitions.generation)
        agreed = deployment(settings, partitions)
        reach_redis(lambda: store.try_commands(partitions))
        reach_redis(lambda: _end_history(store, clients, settings.clock))
        reach_redis(lambda: store.agree(agreed))
        heartbeat = Heartbeat()
        watchdog = Watchdog(
            settings.max_poll_interval_seconds * WATCHDOG_SHARE,
            log=lambda line: log.critical("watchdog ends the worker", reason=line),
        )

        def alive() -> None:
            heartbeat.beat()
            watchdog.arm()
            if settings.instance_id:
                guard.look(consumer.group_metadata())
            if done():
                worker.stop()

        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        metrics = Metrics(registry, config.segmentation, version=__version__)
        observation = Instrumentation(
            metrics,
            settings.warmup_customers,
            config.segmentation,
            lambda: draw(store, partitions, config),
        )
        clocks = Clocks(store, clients, partitions, now_us)
        worker = Worker(
            consumer=consumer,
            publisher=publisher,
            store=store,
            definitions=definitions,
            model=model,
            generations=Generations(
                store,
                partitions,
                config,
                requests=RefitRequests(store.redis, settings.group_id),
                metrics=metrics,
                warmup_customers=settings.warmup_customers,
                definitions_seconds=settings.definitions_seconds,
                refit=settings.refit,
                refit_gain=settings.refit_gain,
            ),
            reconciler=Reconciler(
                store,
                consumer,
                clients,
                config,
                agreed,
                now_us=clocks.now_us,
                accept_loss=accept_loss,
                stall_seconds=patience(STALL_SECONDS, settings),
                noted=observation.taking_over,
            ),
            observation=observation,
            config=config,
            max_records=settings.max_poll_records,
            alive=alive,
            clocks=clocks,
            check_credentials=lambda: check_credentials(settings),
        )

        def leave(signal: str) -> None:
            worker.stop()
            log.info("finishing the round, then leaving", signal=signal)

        when_asked_to_end(leave)

        def readiness() -> dict[str, bool]:
            return {
                "clocks": clocks.agree,
                "joined": worker.ready,
                "redis": probe.writable(range(partitions)),
                "model": model.generation is not None,
            }

        with HealthServer(
            settings.http_port,
            registry,
            heartbeat.within(settings.max_poll_interval_seconds),
            readiness,
            host=settings.http_host,
        ) as health:
            log.info("worker starts", instance=instance, partitions=partitions, port=health.port)
            _import_ahead(model)
            publisher.finish()
            alive()
            worker.run(GarbageCollection().collect)
            watchdog.stop()
        publisher.close()
        definitions.close()
    finally:
        publisher.kill()
        consumer.close(autocommit=False, timeout_ms=5_000)
    log.info("worker left the group")
