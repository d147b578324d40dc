"""A Kafka cluster in memory: logs, transactional producers, one consumer group.

It is a little harsher than brokers are: a rebalance takes effect at once, not when every member has
joined, and markers of a decided transaction are written one at a time, whenever `mark_next` is
called, so that readers see some of them long before others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from kafka import TopicPartition
from kafka.errors import (
    CommitFailedError,
    InvalidTxnStateError,
    MessageSizeTooLargeError,
    ProducerFencedError,
)
from kafka.structs import ConsumerGroupMetadata, OffsetAndMetadata

from livesegments.contracts.topics import INPUTS, OUTPUTS
from tests.simulation.logs import Log, Message, Transaction

PARTITIONS = 2
TRANSACTION_SECONDS = 10.0


@dataclass
class ProducerState:
    """The coordinator's state of a transactional id."""

    epoch: int = 0
    transaction: Transaction | None = None


@dataclass
class Group:
    """The consumer group: its members, assignments and committed offsets."""

    generation: int = 0
    members: list[str] = field(default_factory=list)
    offsets: dict[TopicPartition, OffsetAndMetadata] = field(default_factory=dict)

    def join(self, member: str) -> None:
        """Add a member and reassign all partitions."""
        self.members.append(member)
        self.rebalance()

    def leave(self, member: str) -> None:
        """Remove a member, at its request or not."""
        if member in self.members:
            self.members.remove(member)
            self.rebalance()

    def rebalance(self) -> None:
        """Begin a generation."""
        self.generation += 1

    def assigned(self, member: str) -> list[TopicPartition]:
        """Return a member's partitions, as the range assignor distributes them."""
        if member not in self.members:
            return []
        ordered = sorted(self.members)
        each, more = divmod(PARTITIONS, len(ordered))
        at = ordered.index(member)
        first = each * at + min(at, more)
        numbers = range(first, first + each + (at < more))
        return [TopicPartition(topic, p) for topic in INPUTS for p in numbers]


class Cluster:
    """All topics and their coordinators.

    ``watch`` is called with the records of each committed transaction.

    Attributes
    ----------
    refusing
        Topics that reject records.
    went_back
        Partitions whose committed offset a transaction moved back.
    """

    def __init__(
        self, rng: Random, watch: Callable[[Sequence[Message]], object] = lambda _: None
    ) -> None:
        self._rng, self._watch = rng, watch
        self.refusing: set[str] = set()
        self.created_again: set[str] = set()
        self.now = 0.0
        self.wall_ms = 0
        self.logs = {
            TopicPartition(topic, p): Log(TopicPartition(topic, p))
            for topic in (*INPUTS, *OUTPUTS)
            for p in range(PARTITIONS)
        }
        self.group = Group()
        self.producers: dict[str, ProducerState] = {}
        self.deciding: list[Transaction] = []
        self.went_back: list[str] = []

    def topic_id(self, topic: str) -> UUID:
        """Return the id of a topic, another one once it was created again."""
        return uuid5(NAMESPACE_URL, topic * (1 + (topic in self.created_again)))

    # -- transactions

    def open_producer(self, transactional_id: str) -> int | None:
        """Fence an id's earlier producer; return the new epoch, None while a transaction ends."""
        state = self.producers.setdefault(transactional_id, ProducerState())
        if state.transaction is not None and state.transaction.state == "ongoing":
            state.epoch += 1
            self._decide(state.transaction, "abort")
        if state.transaction is not None and not state.transaction.complete:
            return None
        state.epoch += 1
        state.transaction = None
        return state.epoch

    def take_part(self, transactional_id: str, epoch: int) -> Transaction | None:
        """Return the open transaction, started if necessary; None while the last one still ends.

        Raises
        ------
        ProducerFencedError
            If there is a newer producer with this id, or the transaction has timed out.
        """
        state = self._producer(transactional_id, epoch)
        if state.transaction is not None and state.transaction.state != "ongoing":
            if not state.transaction.complete:
                return None
            state.transaction = None
        if state.transaction is None:
            state.transaction = Transaction(epoch, self.now)
        return state.transaction

    def append(
        self, transactional_id: str, epoch: int, tp: TopicPartition, batch: Sequence[Message]
    ) -> None:
        """Append a batch to a log, in the open transaction."""
        transaction = self._ongoing(transactional_id, epoch)
        if tp.topic in self.refusing:
            raise MessageSizeTooLargeError(tp.topic)
        transaction.records += batch
        for key, value, headers in batch:
            self.logs[tp].append(key, value, headers, self.wall_ms, transaction)

    def add_offsets(
        self,
        transactional_id: str,
        epoch: int,
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
        member: ConsumerGroupMetadata,
    ) -> None:
        """Add a group's offsets to the open transaction.

        Raises
        ------
        CommitFailedError
            If the member is not in the group's generation. No generation or id is accepted.
        """
        transaction = self._ongoing(transactional_id, epoch)
        if (member.generation_id, member.member_id) != (-1, "") and (
            member.generation_id != self.group.generation
            or member.member_id not in self.group.members
        ):
            raise CommitFailedError("not a member of this generation")
        transaction.add(None)
        transaction.offsets.update(offsets)

    def end(self, transactional_id: str, epoch: int, decision: str) -> None:
        """Commit or abort the open transaction; its markers follow."""
        transaction = self._ongoing(transactional_id, epoch)
        if decision == "commit":
            self._watch(transaction.records)
        self._decide(transaction, decision)

    def expire(self, *, everything: bool = False) -> None:
        """Abort transactions that have been open for too long, and fence their producers."""
        for state in self.producers.values():
            open_ = state.transaction
            if open_ is None or open_.state != "ongoing":
                continue
            if everything or self.now - open_.began_at > TRANSACTION_SECONDS:
                state.epoch += 1
                self._decide(open_, "abort")

    def _producer(self, transactional_id: str, epoch: int) -> ProducerState:
        state = self.producers[transactional_id]
        if state.epoch != epoch:
            raise ProducerFencedError(f"{transactional_id} has a newer producer")
        return state

    def _ongoing(self, transactional_id: str, epoch: int) -> Transaction:
        state = self._producer(transactional_id, epoch)
        if state.transaction is None or state.transaction.state != "ongoing":
            raise InvalidTxnStateError("no transaction is under way")
        return state.transaction

    def _decide(self, transaction: Transaction, decision: str) -> None:
        transaction.state = decision
        self.deciding.append(transaction)

    def mark_next(self) -> bool:
        """Write one pending marker of a decided transaction."""
        if not self.deciding:
            return False
        transaction = self._rng.choice(self.deciding)
        if transaction.unmarked:
            at = self._rng.randrange(len(transaction.unmarked))
            self.mark(transaction, transaction.unmarked[at])
        if transaction.complete:
            self.deciding.remove(transaction)
        return True

    def mark(self, transaction: Transaction, where: Log | None) -> None:
        """Write the marker of a decided transaction in one log, or in the group's offsets."""
        transaction.unmarked.remove(where)
        if where is not None:
            where.mark(transaction)
        elif transaction.state == "commit":
            self._commit_offsets(transaction.offsets)

    def _commit_offsets(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        for tp, offset in offsets.items():
            before = self.group.offsets.get(tp)
            if before is not None and offset.offset < before.offset:
                self.went_back.append(f"{tp.topic}-{tp.partition}")
            self.group.offsets[tp] = offset

    # -- the group's offsets

    def transactions(self) -> Iterator[Transaction]:
        """All transactions that readers wait for."""
        for state in self.producers.values():
            if state.transaction is not None and not state.transaction.complete:
                yield state.transaction

    def committed(self, tp: TopicPartition, *, stable: bool) -> tuple[Any, bool]:
        """Return a committed offset, and whether it is available.

        Stable offsets are unavailable while a transaction is about to move them.
        """
        if stable and any(tp in t.offsets and None in t.unmarked for t in self.transactions()):
            return None, False
        return self.group.offsets.get(tp), True
