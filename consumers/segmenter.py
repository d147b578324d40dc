"""The worker: one poll is one round, and one round is one commit and one Kafka transaction.

    1. poll, and take the group's membership right then
    2. decode, fold, assign                                   consumers/round.py
    3. commit to the store, if nobody else has                store/commit.lua
    4. publish the outbox with the offsets, in a transaction  producers/publisher.py

The fourth goes on in a process of its own while the next round is polled, decided and committed;
then it must have ended before the next publication begins.

Whatever fails, the answer is the same: forget everything, compare the store with Kafka, and go on
from there (`consumers/reconcile.py`). An outage is waited out; nothing is skipped.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from consumers.batch import decode_batch
from consumers.definitions import DefinitionsReader
from consumers.fetch import Polled, poll
from consumers.generations import Generations
from consumers.global_model import GlobalModel
from consumers.membership import Membership, partitions_of
from consumers.observation import Observation
from consumers.outages import OUTAGES, Backoff, describe, refusal
from consumers.owned import Owned
from consumers.pace import SWEPT, SweepPace
from consumers.reconcile import Reconciler, TakeoverRefusedError
from consumers.recovery import RecoveryInterruptedError
from consumers.round import Round
from consumers.rules import Decision, Rules, start_sweep, trim, want
from contracts.topics import DEFINITIONS, INPUTS
from producers.publisher import PublishError, Publishing
from store.partitions import Partitions

log = structlog.get_logger()

POLL_MS = 200
OFFSETS_SECONDS = 1.0
DEFINITIONS_POLL_SECONDS = 0.5
IDLE_CHECK_SECONDS = 5.0
ANSWER_MS = 3_000
STAY_SECONDS = 1.0
DEFINITIONS_WAIT_SECONDS = 3.0
FAILURES_PER_CHECK = 3


class Segmenter:
    """One worker of the group.

    Parameters
    ----------
    consumer
        Subscribed to nothing yet; read_committed, no auto-commit, ``auto_offset_reset="none"``.
    publisher, store, definitions, model, generations, reconciler, observation
        What it works with.
    rules
        How it decides.
    max_records
        Most records of a round.
    alive
        Called in every round.
    check_let_in
        Called when rounds fail again and again: kafka-python waits for a broker that refuses a
        password as for one that is away. Raises if it is that.
    now_us
        The wall clock, in microseconds.
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
        observation: Observation,
        rules: Rules,
        max_records: int,
        alive: Callable[[], None],
        now_us: Callable[[], int],
        check_let_in: Callable[[], None] = lambda: None,
    ) -> None:
        self._consumer, self._publisher, self._store = consumer, publisher, store
        self._definitions, self._model, self._generations = definitions, model, generations
        self._reconciler, self._observed, self._rules = reconciler, observation, rules
        self._max_records, self._alive, self._now_us = max_records, alive, now_us
        self._check_let_in = check_let_in
        self.owned: dict[int, Owned] = {}
        self._under_way: dict[int, int] = {}
        self.ready = False
        self._stopping = False
        self._rebalance = Membership()
        self._generation_id = -1
        self._membership: object = None
        self._reconcile_due = True
        self._backoff = Backoff()
        self._pace = SweepPace(rules.max_changes_per_second)
        self._offsets_at = self._definitions_at = self._checked_at = self._stayed_at = 0.0

    def stop(self) -> None:
        """Ask it to finish its round and leave; safe in a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Work until asked to stop."""
        self._consumer.subscribe(list(INPUTS), listener=self._rebalance)
        while not self._stopping:
            self.step()
            self._alive()
        if self.owned and not self._reconcile_due:
            try:
                # The membership of the last poll: asked for now, it might be another's or none.
                self._publish(self._membership, everything=True)
                self._confirm()
            except OUTAGES as error:
                log.warning("leaving with offsets to commit", error=describe(error))

    def step(self) -> None:
        """Do one round."""
        polled = self._poll()
        membership = self._membership = self._consumer.group_metadata()
        if membership.generation_id < 0 or not membership.member_id:
            # Past max_poll_interval the generation is gone though partitions are still listed,
            # and a broker takes offsets from such a member.
            if self.owned:
                log.warning("no longer in the group; will join it again")
            self._reconcile_soon()
            return
        if self._rebalance.changed or membership.generation_id != self._generation_id:
            self._rebalance.changed = False
            self._generation_id = membership.generation_id
            self._observed.rebalanced()
            self._reconcile_soon()
        if self._reconcile_due:
            # What was polled came before the takeover, so it is fetched again after it.
            self._reconcile()
            return
        try:
            self._work(polled, membership)
            self._backoff.succeeded()
        except OUTAGES as error:
            self._out(error)

    # -- poll

    def _poll(self) -> Polled:
        timeout = POLL_MS
        if any(owned.sweep for owned in self.owned.values()):
            timeout = min(POLL_MS, math.ceil(self._pace.pause(time.monotonic()) * 1000))
        try:
            with self._observed.stage("poll"):
                polled = poll(self._consumer, timeout, self._max_records)
        except NoOffsetForPartitionError:
            # The group has just given out partitions that nobody has committed offsets for.
            self._reconcile_soon()
            return {}
        except OffsetOutOfRangeError as error:
            log.warning("offset out of range", error=str(error))
            self._reconcile_soon()
            return {}
        except KafkaError as error:
            self._out(error)
            return {}
        return polled

    def _new_records(self, polled: Polled) -> dict[TopicPartition, list[ConsumerRecord]]:
        """Return the records not folded yet, of the partitions taken over."""
        new: dict[TopicPartition, list[ConsumerRecord]] = {}
        for tp, records in polled.items():
            owned = self.owned.get(tp.partition)
            if owned is None or not records:
                continue
            start = owned.progress.offsets[INPUTS.index(tp.topic)]
            fresh = (
                list(records)
                if records[0].offset >= start
                else [record for record in records if record.offset >= start]
            )
            if fresh:
                new[tp] = fresh
        return new

    # -- reconcile

    def _reconcile_soon(self) -> None:
        self._reconcile_due, self.ready = True, False
        self._observed.ready(False)
        for partition in self.owned:
            self._observed.gave_up(partition)
        self.owned = {}

    def _out(self, error: Exception) -> None:
        """Wait an outage out: forget everything, and compare anew after a while.

        A refusal is none, and is raised.
        """
        self._reconcile_soon()
        if (refused := refusal(error)) is not None:
            raise refused
        pause = self._backoff.failed()
        self._observed.failed(error)
        log.warning(
            "round failed; will compare the store with Kafka and go on",
            error=describe(error),
            failures=self._backoff.failures,
            retry_in_seconds=pause,
        )
        if self._backoff.failures % FAILURES_PER_CHECK == 0:
            self._check_let_in()

    def _reconcile(self) -> None:
        if self._backoff.left:
            time.sleep(min(0.1, self._backoff.left))
            return
        assignment = set(self._consumer.assignment())
        try:
            partitions = partitions_of(assignment)
            self._end_publication()
            self._publisher.open()
            self._learn_generation()
            owned = {p: self._reconciler.take_over(p, self._stay_in_group) for p in partitions}
            self._wait_for_generation(max((o.known_generation for o in owned.values()), default=0))
            if self._rebalance.changed:
                raise RecoveryInterruptedError("the group has rebalanced")
            for partition, each in owned.items():
                for topic, offset in zip(INPUTS, each.progress.offsets, strict=True):
                    self._consumer.seek(TopicPartition(topic, partition), offset)
        except OUTAGES as error:
            self._out(error)
            return
        self.owned = owned
        self._reconcile_due, self.ready = False, True
        self._observed.ready(True)
        for partition in owned:
            self._observed.took(partition)
        log.info("owns partitions", partitions=sorted(owned), generation=self._generation_id)

    def _learn_generation(self) -> None:
        lost = self._definitions.went_back
        self._definitions.poll()
        if self._definitions.went_back > lost:
            log.warning("definitions are gone and will be published again", topic=DEFINITIONS)
            self._generations.describe_again()
        self._model.adopt(self._definitions.generation)

    def _stay_in_group(self) -> None:
        """Poll without taking anything, so that a long recovery does not cost the membership.

        Raises
        ------
        RecoveryInterruptedError
            If the group has rebalanced.
        """
        self._alive()
        now = time.monotonic()
        if now - self._stayed_at < STAY_SECONDS:
            return
        self._stayed_at = now
        self._consumer.pause(*self._consumer.assignment())
        with suppress(NoOffsetForPartitionError):
            self._consumer.poll(0)
        self._consumer.resume(*self._consumer.paused())
        if self._rebalance.changed:
            raise RecoveryInterruptedError("the group has rebalanced")

    def _wait_for_generation(self, number: int) -> None:
        """Read definitions until the model is at least as new as the records are.

        When the topic has lost that generation nobody is assigned until it is published again, by
        partition 0's owner if that still knows it, or a newer one is fitted.
        """
        deadline = time.monotonic() + DEFINITIONS_WAIT_SECONDS
        while self._model.number < number and number > self._model.floor:
            if time.monotonic() > deadline and self._definitions.has_lost(number):
                log.error(
                    "the model's generation is lost; no segment changes until there is a newer one",
                    topic=DEFINITIONS,
                    records_are_of=number,
                    newest_there=self._model.number,
                )
                self._model.do_without(number)
                return
            time.sleep(0.1)
            self._alive()
            self._learn_generation()

    # -- work

    def _work(self, polled: Polled, membership: object) -> None:
        now = time.monotonic()
        if now - self._definitions_at >= DEFINITIONS_POLL_SECONDS:
            self._learn_generation()
            self._definitions_at = now
        self._model.refresh(self.owned, now)
        new = self._new_records(polled)
        self._round(new)
        self._tend_definitions()
        self._publish(membership)
        if not new and now - self._checked_at >= IDLE_CHECK_SECONDS:
            self._checked_at = now
            self._check_still_owner()
            self._check_kafka_answers()
            trims = [trim(owned) for owned in self.owned.values()]
            self._commit([decision for decision in trims if decision is not None])
        self._observed.observe(self._consumer, self.owned, self._model, self._generations.waiting)

    def _round(self, new: dict[TopicPartition, list[ConsumerRecord]]) -> None:
        model = self._model.model(self.owned)
        number = model.generation.number if model else 0
        for partition, owned in self.owned.items():
            self.owned[partition] = start_sweep(owned, number, self._rules, self._now_us())
        walk = not self._pace.pause(time.monotonic())
        sweeping = {p for p, owned in self.owned.items() if owned.sweep and walk}
        busy = sorted({tp.partition for tp in new} | sweeping)
        if not busy:
            return
        with self._observed.stage("decode"):
            seen = {partition: owned.seen for partition, owned in self.owned.items()}
            batch = decode_batch(new, self._rules.currency, seen)
        parts = {part.partition: part for part in batch.slices}
        wants = [want(self.owned[p], parts.get(p), self._rules, walk=walk) for p in busy]
        with self._observed.stage("read"):
            readings = self._store.read(wants)
        work = [(self.owned[p], parts.get(p), r) for p, r in zip(busy, readings, strict=True)]
        with self._observed.stage("assign"):
            round_ = Round(self._rules, model, batch, work, self._now_us())
            decisions = round_.decide()
        self._commit(decisions)
        swept = sum(origin in SWEPT for _, _, origin in round_.tally.changes)
        self._pace.made(swept, time.monotonic())
        self._observed.decided(batch, round_.tally, model)

    def _commit(self, decisions: Sequence[Decision]) -> None:
        commits = [decision.commit for decision in decisions if decision.commit is not None]
        with self._observed.stage("commit"):
            accepted = self._store.commit(commits) if commits else []
        if not all(accepted):
            refused = [c.partition for c, ok in zip(commits, accepted, strict=True) if not ok]
            raise TakeoverRefusedError(f"partitions {refused}: another owner has written")
        for decision in decisions:
            self.owned[decision.owned.partition] = decision.owned

    def _tend_definitions(self) -> None:
        if 0 not in self.owned:
            self._generations.stand_down()
            return
        now_us, generations = self._now_us(), self._generations
        if self._model.generation is None:
            decision = generations.propose(self.owned[0], self._model.floor, now_us)
        else:
            decision = (
                generations.accept(self.owned, self._model, now_us)
                or generations.reconsider(self.owned, self._model, now_us)
                or generations.refresh(self.owned, self._model, now_us)
            )
        if decision is not None:
            self._commit([decision])

    def _publish(self, membership: object, *, everything: bool = False) -> None:
        now = time.monotonic()
        behind = [
            o
            for p, o in self.owned.items()
            if o.progress.version > max(o.published, self._under_way.get(p, 0))
        ]
        due = everything or now - self._offsets_at >= OFFSETS_SECONDS
        told = [o for o in behind if due or o.unpublished or o.offsets_pending]
        if due:
            self._offsets_at = now
        if not told:
            self._confirm(wait=False)
            return
        with self._observed.stage("publish"):
            self._confirm()
            publications = [self.owned[o.partition].publication() for o in told]
            self._publisher.begin(publications, membership)
        self._under_way = {o.partition: self.owned[o.partition].progress.version for o in told}

    def _confirm(self, *, wait: bool = True) -> None:
        """Take in that Kafka has what was begun to be published."""
        ended_us = self._publisher.finish(wait=wait)
        if ended_us is None:
            return
        for partition, version in self._under_way.items():
            self.owned[partition] = self.owned[partition].confirmed(version)
        self._under_way = {}
        self._observed.published(ended_us)

    def _end_publication(self) -> None:
        """Wait for what is under way, whatever becomes of it: Kafka's offsets will tell."""
        self._under_way = {}
        try:
            self._publisher.finish()
        except PublishError as error:
            self._observed.failed(error)
            log.warning("a transaction failed", error=describe(error))

    def _check_still_owner(self) -> None:
        """Notice, without traffic, a store that lost writes or another owner's commit."""
        partitions = sorted(self.owned)
        found = self._store.written_by(partitions)
        for partition, (version, nonce) in zip(partitions, found, strict=True):
            progress = self.owned[partition].progress
            if (version, nonce) != (progress.version, progress.nonce):
                raise TakeoverRefusedError(
                    f"partition {partition}: the store is not as it was left"
                )

    def _check_kafka_answers(self) -> None:
        """Notice, without traffic, a broker that is away: `poll` says nothing of it."""
        for partition in [] if self._under_way else list(self.owned)[:1]:
            self._consumer.committed(TopicPartition(INPUTS[0], partition), timeout_ms=ANSWER_MS)
