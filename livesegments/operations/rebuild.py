"""Rebuild the store from Kafka alone: records, published segments and the model's generation.

The store is emptied, and the owners of the partitions recover them as after a complete loss of
Redis. The owners are the running workers, or else a worker that runs here until the end.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from kafka.errors import KafkaError

from livesegments import app
from livesegments.config.clients import kafka_config, open_store
from livesegments.config.settings import PREFIX, Settings
from livesegments.consumers.clocks import Clocks, WrongClockError, bounded
from livesegments.consumers.data_loss import DataLossError, LossCheck
from livesegments.consumers.log_reader import LogReader
from livesegments.consumers.modelling.global_model import DefinitionsReader
from livesegments.consumers.recovery.reconciliation import extent_of
from livesegments.contracts.topics import check_partition_counts
from livesegments.domain import record_shape
from livesegments.features.record_codec import decode
from livesegments.features.window import Tiling, window
from livesegments.operations.consumer_group import count_workers
from livesegments.operations.input_sample import Placing, draw_inputs
from livesegments.operations.topics import partition_counts
from livesegments.store.deployment import Deployment, UnknownSegmentError
from livesegments.store.partitions import Partitions
from livesegments.topic_prefix import open_admin

POLL_SECONDS = 0.5
DESERTED_SECONDS = 15.0
DRAWN_CUSTOMERS = 1_000


class RebuildError(RuntimeError):
    """The store cannot be rebuilt and was not changed; states the reason and the remedy."""


class DesertedError(RuntimeError):
    """The workers that were rebuilding the store have left; states the remedy."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Plan of a rebuild: the customers in the store, and the running workers, who would do it.

    ``changed`` has the store's value and the new one of each setting that differs.
    """

    deployment: Deployment
    changed: Mapping[str, tuple[str, str]]
    customers: int
    workers: int


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Result of a rebuild; not ``complete`` if it was stopped early."""

    customers: int
    partitions: int
    seconds: float
    complete: bool


def plan(settings: Settings, *, accept_loss: bool = False) -> Plan:
    """Check whether the store can be rebuilt.

    Raises
    ------
    RebuildError
        If the settings differ from those of running workers; if the inputs no longer contain all
        data that counts and the loss is not accepted; or if it is accepted while workers run, since
        they do not accept it and would exit one after the other.
    UnknownSegmentError
        If the published segments have other ids.
    """
    config, store = kafka_config(settings), open_store(settings)
    wanted = app.deployment(
        settings, check_partition_counts(partition_counts(config), settings.topic_prefix)
    )
    UnknownSegmentError.check(_definitions(settings).latest, wanted.segments)
    workers, agreed = _members(settings), store.deployment()
    if agreed is not None:
        count, prefix = wanted.partitions, wanted.topic_prefix
        if (other := replace(agreed, partitions=count, topic_prefix=prefix)) != agreed:
            store.agree(other)  # raises an error that states the remedy
    before = agreed.to_fields() if agreed is not None else {}
    changed = {
        name: (before[name], value)
        for name, value in wanted.to_fields().items()
        if before.get(name, value) != value
    }
    if workers and changed:
        raise RebuildError(
            f"{', '.join(changed)} differ from the {workers} running workers': stop them first"
        )
    if workers and accept_loss:
        raise RebuildError(
            f"stop the {workers} running workers first: with --accept-loss this command rebuilds"
            " the store itself"
        )
    if not accept_loss:
        _check_losses(settings, store, wanted)
        _check_partitioner(settings, wanted)
    return Plan(wanted, changed, sum(store.sizes(range(wanted.partitions))), workers)


def rebuild(
    settings: Settings,
    planned: Plan,
    *,
    accept_loss: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Rebuilt:
    """Empty the store and wait until it is rebuilt.

    ``progress`` is called with the number of input records applied.

    Raises `DesertedError` if running workers were to rebuild it, and none has been present for a
    while.
    """
    store, began = open_store(settings), time.monotonic()
    partitions = range(planned.deployment.partitions)
    has_model = _definitions(settings).generation is not None
    store.forget(planned.deployment)
    looked = -POLL_SECONDS
    complete = False

    def done() -> bool:
        nonlocal looked, complete
        if not complete and time.monotonic() - looked >= POLL_SECONDS:
            looked = time.monotonic()
            found = [store.load(partition).checkpoint for partition in partitions]
            known = [each for each in found if each is not None]
            progress(sum(sum(each.offsets) for each in known))
            complete = len(known) == len(found) and not any(
                each.recovering or (has_model and each.rescore) for each in known
            )
        return complete

    if planned.workers:
        deserted = _Deserted(settings)
        while not done():
            deserted.check()
            time.sleep(POLL_SECONDS)
    else:
        here = settings.model_copy(update={"http_port": 0, "http_host": "127.0.0.1"})
        app.run(here, accept_loss=accept_loss, done=done)
    seconds = time.monotonic() - began
    return Rebuilt(sum(store.sizes(partitions)), len(partitions), seconds, complete)


def _members(settings: Settings) -> int:
    with open_admin(**kafka_config(settings)) as admin:
        return count_workers(admin, settings.group_id)


class _Deserted:
    """Detects that the group has had no worker for longer than a restart takes."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._seen = settings, time.monotonic()
        self._next = self._seen + DESERTED_SECONDS / 3

    def check(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + DESERTED_SECONDS / 3
        try:
            workers = _members(self._settings)
        except KafkaError:
            workers = 1  # assume so; workers retry during an outage too
        if workers:
            self._seen = now
        elif now - self._seen >= DESERTED_SECONDS:
            raise DesertedError(
                f"no worker is left in group {self._settings.group_id!r}, and the store is not"
                " rebuilt yet: start a worker to continue (livesegments run)"
            )


def _check_partitioner(settings: Settings, wanted: Deployment) -> None:
    """Raise an error if most customers of an input are where another partitioner puts them.

    Records in the wrong partition that were read before the rebuild make no dead letters in it.
    """
    drawn = draw_inputs(kafka_config(settings), wanted.partitions)
    for topic, records in drawn.items():
        placing = Placing.of(records, wanted.partitions)
        if placing.wrong(wanted.partitioner) > placing.customers // 2:
            raise RebuildError(
                f"{topic} follows {placing.describe()}, and {PREFIX}PARTITIONER is"
                f" {wanted.partitioner}: the rebuilt store would lack most of its records. Set it"
                " to the partitioner of the producers; to rebuild all the same: --accept-loss"
            )


def _definitions(settings: Settings) -> DefinitionsReader:
    reader = DefinitionsReader(kafka_config(settings), settings.read_segmentation())
    reader.close()
    return reader


def _check_losses(settings: Settings, store: Partitions, deployment: Deployment) -> None:
    """Raise an error if the inputs no longer contain all the data in the store."""
    with LogReader(kafka_config(settings)) as log:
        clocks = Clocks(store, kafka_config(settings), deployment.partitions, app.now_us)
        try:
            clocks.look()
        except WrongClockError as error:
            raise RebuildError(f"{error}. Correct the wrong clock first (NTP)") from None
        check = LossCheck(log, app.processing_config(settings), clocks.now_us, lambda: None)
        for partition in range(deployment.partitions):
            progress = store.load(partition).checkpoint
            if progress is None:
                continue
            inputs = extent_of(log, partition)
            # A wrong clock may have advanced the partition's, and then no purchase would count.
            clock_us = bounded(progress.clock_us, clocks.shown_us)
            counts = partial(_counts_somebody, store, partition, deployment, clock_us)
            try:
                if inputs.is_of(progress):
                    check.check_ends(partition, inputs, progress, None)
                check.check_window(partition, inputs, counts)
            except DataLossError as error:
                raise RebuildError(
                    f"partition {partition}: {error.fact}, so a rebuilt store would lack data that"
                    " this one has. To rebuild anyway: --accept-loss"
                ) from None


def _counts_somebody(
    store: Partitions, partition: int, deployment: Deployment, clock_us: int
) -> bool:
    """Return whether any of a random sample of customers has a purchase in its window."""
    layout = Tiling(deployment.window_days, deployment.tiles)
    for _, blobs in store.sample({partition: DRAWN_CUSTOMERS}).values():
        records = decode(blobs, record_shape(deployment))
        found = window(records, layout.tile(clock_us), layout)
        return bool(found.purchases.any())
    return False
