"""Worker loop: each poll is one micro-batch, with one commit and one Kafka transaction.

    1. poll, and read the group membership right after it
    2. decode, aggregate, assign                              consumers/processor.py
    3. commit to the store, fenced against other owners       livesegments/store/commit.lua
    4. publish the outbox with the offsets, in a transaction  producers/publisher.py

Step 4 runs in a separate process while the next micro-batch is polled, processed and committed. It
must finish before the next publication begins.

Every failure is handled the same way: drop the local state, reconcile the store with Kafka and
resume from there (`consumers/recovery/reconciliation.py`). Outages are retried with backoff; no
record is skipped.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from kafka.structs import MemberState
from redis.exceptions import RedisError

from livesegments.consumers.aggregation import Work, read_requests
from livesegments.consumers.clocks import Clocks, WrongClockError
from livesegments.consumers.decoding import decode_batch
from livesegments.consumers.idle import check_kafka_answers, check_owner, tidied
from livesegments.consumers.in_flight import MOST_BYTES, InFlightPublications
from livesegments.consumers.instrumentation import Instrumentation
from livesegments.consumers.log_reader import LogStalledError
from livesegments.consumers.modelling.generations import Generations
from livesegments.consumers.modelling.global_model import DefinitionsReader, GlobalModel
from livesegments.consumers.partition_state import PartitionResult, PartitionState, start_sweep
from livesegments.consumers.polling import (
    Polled,
    RebalanceListener,
    partitions_of,
    poll,
    split_by_bytes,
    unprocessed,
)
from livesegments.consumers.processor import process
from livesegments.consumers.rate_limiter import SWEPT, SweepRateLimiter
from livesegments.consumers.recovery.reconciliation import Reconciler, TakeoverRefusedError
from livesegments.consumers.recovery.replay import RecoveryInterruptedError
from livesegments.consumers.retry import Backoff, describe, refusal
from livesegments.contracts.topics import INPUTS
from livesegments.domain import ProcessingConfig
from livesegments.producers.publisher import PublishError, Publishing
from livesegments.store.partitions import Partitions

log = structlog.get_logger()

OUTAGES = (
    RedisError,
    KafkaError,
    PublishError,
    LogStalledError,
    TakeoverRefusedError,
    RecoveryInterruptedError,
)
"""Errors that are retried; any other is a bug or a misconfiguration and ends the worker."""

POLL_MS = 200
IDLE_CHECK_SECONDS = 5.0
MODEL_SECONDS = 0.5
REPORT_SECONDS = 2.0
FAILURES_PER_CHECK = 3


class Worker:
    """A member of the consumer group.

    Parameters
    ----------
    consumer
        Not subscribed yet; read_committed, no auto-commit, ``auto_offset_reset="none"``.
    publisher, store, definitions, model, generations, reconciler, observation
        Collaborators.
    config
        Processing configuration.
    max_records
        Maximum number of records in a micro-batch.
    transaction_bytes
        Maximum output bytes of a transaction, unless a single version exceeds it.
    alive
        Liveness callback, called in every loop iteration.
    check_credentials
        Credentials check, called after repeated failures: kafka-python handles a broker that
        rejects the password like one that is unreachable. Raises if the credentials are rejected.
    clocks
        The wall clock, compared with the clocks of the servers.
    """

    def __init__(
        self,
        *,
        consumer: KafkaConsumer,
        publisher: Publishing,
        store: Partitions,
        definitions: DefinitionsReader,
        model: GlobalModel,
        generations: Generations,
        reconciler: Reconciler,
        observation: Instrumentation,
        config: ProcessingConfig,
        max_records: int,
        transaction_bytes: int = MOST_BYTES,
        alive: Callable[[], None],
        clocks: Clocks,
        check_credentials: Callable[[], None] = lambda: None,
    ) -> None:
        self._consumer, self._store = consumer, store
        self._publications = InFlightPublications(publisher, observation, transaction_bytes)
        self._definitions, self._model, self._generations = definitions, model, generations
        self._reconciler, self._observed, self._config = reconciler, observation, config
        self._max_records, self._alive, self._clocks = max_records, alive, clocks
        self._check_credentials = check_credentials
        self.states: dict[int, PartitionState] = {}
        self.ready = False
        self._stopping = self._joined = False
        self._group = RebalanceListener(consumer)
        self._generation_id = -1
        self._membership: object = None
        self._reconcile_due = True
        self._backoff = Backoff()
        self._pace = SweepRateLimiter(config.max_changes_per_second)
        self._model_due = self._check_due = self._report_due = 0.0

    def stop(self) -> None:
        """Request a stop after the current micro-batch; safe in a signal handler."""
        self._stopping = True

    def run(self, after_batch: Callable[[], None] = lambda: None) -> None:
        """Run until a stop is requested."""
        while not self._stopping:
            self.step()
            self._alive()
            after_batch()
        if self.states and not self._reconcile_due:
            try:
                self._commit(tidied(self._consumer, list(self.states.values())))
                # Use the membership of the last poll: by now there may be another one, or none.
                self._publications.publish_all(self.states, self._membership, self._alive)
                self._publications.begin(self.states, self._membership, everything=True)
                self._publications.confirm(self.states)
            except OUTAGES as error:
                log.warning("leaving with offsets to commit", error=describe(error))

    def step(self) -> None:
        """Run one loop iteration."""
        try:
            if not self._joined:
                self._join()
                return
            polled = self._poll()
            membership = self._membership = self._consumer.group_metadata()
            if membership.state is not MemberState.STABLE:
                # After max_poll_interval the group generation is invalid although the assignment is
                # still listed, and a broker accepts offset commits from such a member. Between
                # JoinGroup and SyncGroup the generation is the new one, but the listed partitions
                # are the previous assignment and may belong to another member.
                if self.states:
                    log.info("rejoins the group", group_generation=membership.generation_id)
                self._reset()
                return
            if self._group.changed or membership.generation_id != self._generation_id:
                self._group.changed = False
                self._generation_id = membership.generation_id
                self._observed.rebalanced()
                self._reset()
            if self._reconcile_due:
                # The polled records predate the takeover and are fetched again after it.
                self._reconcile()
                return
            self._work(polled, membership)
            self._backoff.failures = 0
        except WrongClockError as error:
            self._leave_group(error)
        except OUTAGES as error:
            self._back_off(error)

    # -- join

    def _join(self) -> None:
        """Join the group after verifying the wall clock."""
        if self._backoff.left:
            time.sleep(min(0.1, self._backoff.left))
            return
        self._clocks.look()
        self._observed.clocks(self._clocks, self.states)
        self._consumer.subscribe(list(INPUTS), listener=self._group)
        self._joined = True

    def _leave_group(self, error: WrongClockError) -> None:
        """Leave the group, so that workers with correct clocks take the partitions; retry later.

        Processing once with a clock that is ahead would permanently expire every customer's window.
        """
        self._reset()
        if self._joined:
            with suppress(KafkaError):
                self._consumer.unsubscribe()
            self._joined = False
        pause = self._backoff.failed()
        self._observed.clocks(self._clocks, self.states)
        log.error("clocks differ: not processing", error=str(error), retry_in_seconds=pause)

    # -- poll

    def _poll(self) -> Polled:
        timeout = POLL_MS
        if any(state.sweep for state in self.states.values()):
            pause = max(0.0, self._pace.free_at - time.monotonic())
            timeout = min(POLL_MS, math.ceil(pause * 1000))
        try:
            with self._observed.stage("poll"):
                polled = poll(self._consumer, timeout, self._max_records)
        except NoOffsetForPartitionError:
            # The group has just assigned partitions that have no committed offsets.
            self._reset()
            return {}
        except OffsetOutOfRangeError as error:
            # Every poll raises this until the takeover, which must not be delayed by more backoff.
            if not self._reconcile_due:
                log.warning("offset out of range", error=str(error))
                self._reset()
                self._backoff.failed()
            return {}
        except KafkaError as error:
            self._back_off(error)
            # After leaving the group, the next poll would rejoin at once, whatever the broker
            # answered.
            while self._backoff.left and not self._stopping:
                self._alive()
                time.sleep(min(0.1, self._backoff.left))
            return {}
        return polled

    # -- reconcile

    def _reset(self) -> None:
        self._reconcile_due, self.ready = True, False
        self._observed.ready(False)
        for partition in self.states:
            self._observed.gave_up(partition)
        self.states = {}
        # The last descriptions may or may not have been committed.
        self._generations.describe_again()

    def _back_off(self, error: Exception) -> None:
        """Back off, drop local state and reconcile later.

        Authorization errors are raised.
        """
        self._reset()
        if (refused := refusal(error)) is not None:
            raise refused
        pause = self._backoff.failed()
        self._observed.failed(error)
        log.warning(
            "micro-batch failed: the store will be compared with Kafka",
            error=describe(error),
            failures=self._backoff.failures,
            retry_in_seconds=pause,
        )
        if self._backoff.failures % FAILURES_PER_CHECK == 0:
            self._check_credentials()

    def _reconcile(self) -> None:
        if self._backoff.left:
            time.sleep(min(0.1, self._backoff.left))
            return
        partitions = partitions_of(set(self._consumer.assignment()))
        self._clocks.look_at_redis(partitions)
        self._publications.begin_anew(self._alive)
        self._model.follow(self._definitions)
        states = self._reconciler.take_over(partitions, self._stay_in_group)
        newest = max((each.known_generation for each in states.values()), default=0)
        self._model.wait_for(newest, self._definitions, self._alive)
        if self._group.changed:
            raise RecoveryInterruptedError("the group has rebalanced")
        # Publish before processing resumes, or each attempt would add a micro-batch to the outbox.
        self._publications.publish_all(states, self._membership, self._stay_in_group)
        for partition, each in states.items():
            for topic, offset in zip(INPUTS, each.checkpoint.offsets, strict=True):
                self._consumer.seek(TopicPartition(topic, partition), offset)
        self.states = states
        self._model_due = 0.0
        self._reconcile_due, self.ready = False, True
        self._observed.ready(True)
        for partition in states:
            self._observed.took(partition)
        log.info("owns partitions", partitions=sorted(states), group_generation=self._generation_id)

    def _stay_in_group(self) -> None:
        """Keep the membership during a long recovery; raises if the group has rebalanced."""
        self._alive()
        self._group.stay()
        if self._group.changed:
            raise RecoveryInterruptedError("the group has rebalanced")

    # -- work

    def _work(self, polled: Polled, membership: object) -> None:
        now = time.monotonic()
        if now >= self._model_due:
            self._model_due = now + MODEL_SECONDS
            if self._model.follow(self._definitions):
                self._generations.describe_again()
            self._model.refresh(self.states, now)
            due = self._generations.tend(self.states, self._model, self._clocks.now_us())
            if due is not None:
                self._commit([due])
        new = unprocessed(polled, {p: o.checkpoint.offsets for p, o in self.states.items()})
        self._clocks.look_at_polled(self._consumer, new)
        behind = 2 * sum(map(len, new.values())) > self._max_records
        for portion in split_by_bytes(new):
            self._process_batch(portion)
            self._publish(membership, behind=behind)
        if now >= self._check_due:
            self._check_due = now + IDLE_CHECK_SECONDS
            busy = {tp.partition for tp in new}
            idle = [state for partition, state in self.states.items() if partition not in busy]
            check_owner(self._store, idle)
            if not new:
                self._clocks.look_at_redis(self.states)
                if idle and not self._publications.under_way:
                    check_kafka_answers(self._consumer, idle[0].partition)
            # After the check: a transaction hangs for long when the broker is already away.
            self._commit(tidied(self._consumer, idle))
        if now >= self._report_due:
            self._report_due = now + REPORT_SECONDS
            self._observed.clocks(self._clocks, self.states)
            waiting = self._generations.waiting
            self._observed.observe(self._consumer, self.states, self._model, waiting)

    def _publish(self, membership: object, *, behind: bool) -> None:
        """Begin publishing; return once the backlog is small enough for another micro-batch."""
        self._publications.begin(self.states, membership, behind=behind)
        while self._publications.too_much_waits(self.states):
            self._alive()
            self._publications.begin(self.states, membership)

    def _process_batch(self, new: Polled) -> None:
        model = self._model.model(self.states)
        number = model.generation.number if model else 0
        before_us, now_us = self._clocks.wall_us(), self._clocks.now_us()
        for partition, state in self.states.items():
            self.states[partition] = start_sweep(state, number, self._config, now_us)
        walk = time.monotonic() >= self._pace.free_at
        sweeping = {p for p, state in self.states.items() if state.sweep and walk}
        busy = sorted({tp.partition for tp in new} | sweeping)
        if not busy:
            return
        states = [self.states[p] for p in busy]
        with self._observed.stage("decode"):
            batch = decode_batch(new, self._config, {each.partition: each.seen for each in states})
        wants = read_requests(states, batch, self._config, advance_sweeps=walk)
        with self._observed.stage("read"):
            readings = self._store.read(wants)
        now_us = self._clocks.after_reading(before_us, busy, readings)
        with self._observed.stage("assign"):
            result = process(Work(self._config, model, batch, states, readings, now_us))
        self._commit(result.partitions)
        swept = sum(origin in SWEPT for _, _, origin in result.stats.changes)
        if swept:
            self._pace.made(swept, time.monotonic())
        self._observed.decided(batch, result.stats, model)

    def _commit(self, decisions: Sequence[PartitionResult]) -> None:
        commits = [decision.commit for decision in decisions if decision.commit is not None]
        with self._observed.stage("commit"):
            accepted = self._store.commit(commits) if commits else []
        if not all(accepted):
            refused = [c.partition for c, ok in zip(commits, accepted, strict=True) if not ok]
            raise TakeoverRefusedError(f"partitions {refused}: another owner has written")
        for decision in decisions:
            self.states[decision.state.partition] = decision.state
