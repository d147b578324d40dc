"""Columnar decoding of a poll: records of every topic, with a row for each customer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from operator import attrgetter
from typing import TypeVar

import numpy as np
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from numpy.typing import NDArray

from livesegments.contracts.dead_letters import Reason, Rejection
from livesegments.contracts.decode import (
    Columns,
    Erasures,
    Profiles,
    Purchases,
    decode_erasures,
    decode_profiles,
    decode_purchases,
)
from livesegments.contracts.partitioning import KeyHashes, Partitioning, hash_keys
from livesegments.contracts.topics import ERASURES, INPUTS, PROFILES, PURCHASES
from livesegments.features.dedup import DedupUpdate, DedupWindow, fingerprints, hashes_of

Int = NDArray[np.int64]
_NO_PROFILES, _NO_ERASURES = decode_profiles([], [], [])[0], decode_erasures([], [], [])[0]
C = TypeVar("C", bound=Columns)


@dataclass(frozen=True, slots=True)
class Rejected:
    """Input record that failed validation, and the reason."""

    record: ConsumerRecord
    rejection: Rejection


@dataclass(frozen=True, slots=True)
class PartitionBatch:
    """Slice of a micro-batch from one input partition.

    Attributes
    ----------
    customers
        Range of its customers in the rows of the micro-batch.
    purchases, profiles, erasures
        Ranges in the columns of the batch.
    next_offsets
        Input topic -> offset after its last record in the slice.
    rejected
        The slice's dead letters.
    recall
        The partition's dedup update; None if deduplication is off.
    """

    partition: int
    customers: slice
    purchases: slice
    profiles: slice
    erasures: slice
    next_offsets: dict[str, int]
    rejected: list[Rejected]
    recall: DedupUpdate | None = None


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """All records of one poll.

    ``customers`` are ids in order of partition and appearance; a customer's index is its row in the
    micro-batch. ``*_customer`` (n,) holds the row of each accepted record's customer. ``records``
    are the polled records by topic, accepted or not.
    """

    customers: list[str]
    purchases: Purchases
    profiles: Profiles
    erasures: Erasures
    purchases_customer: Int
    profiles_customer: Int
    erasures_customer: Int
    records: dict[str, list[ConsumerRecord]]
    slices: list[PartitionBatch]
    duplicates: int = 0
    """Valid purchases dropped as duplicates."""
    conflicts: int = 0
    """Valid purchases with the event id of an earlier one and other content."""

    def events(self, topic: str, columns: Int) -> list[tuple[ConsumerRecord, str | None]]:
        """Return the source records and event ids of accepted columns of a topic.

        A profile has no event id.
        """
        accepted: dict[str, tuple[Columns, Sequence[str | None]]] = {
            PURCHASES: (self.purchases, self.purchases.event_id),
            PROFILES: (self.profiles, [None] * len(self.profiles.row)),
            ERASURES: (self.erasures, self.erasures.request_id),
        }
        of_topic, ids = accepted[topic]
        records, rows = self.records[topic], of_topic.row[columns].tolist()
        return [
            (records[row], ids[column]) for row, column in zip(rows, columns.tolist(), strict=True)
        ]


def decode_batch(
    polled: Mapping[TopicPartition, Sequence[ConsumerRecord]],
    currency: str,
    seen: Mapping[int, DedupWindow | None] | None = None,
    consent_required: bool = False,
    partitioning: Partitioning | None = None,
) -> MicroBatch:
    """Decode the records of a poll.

    Parameters
    ----------
    polled
        Records by topic and partition, without those already processed.
    currency
        The deployment's currency.
    seen
        Partition -> its dedup window; without one, duplicates are kept.
    consent_required
        Whether a profile must have both consents.
    partitioning
        Partition of each key, to reject records in another one; None: not checked.
    """
    partitions = sorted({tp.partition for tp in polled})
    of_partition = {
        topic: [polled.get(TopicPartition(topic, p), ()) for p in partitions] for topic in INPUTS
    }
    records = {topic: list(chain.from_iterable(parts)) for topic, parts in of_partition.items()}
    sizes = {topic: list(map(len, parts)) for topic, parts in of_partition.items()}
    purchases, bad_purchases = decode_purchases(*columns_of(records[PURCHASES]), currency=currency)
    # Most micro-batches have none of these, and micro-batches are small when traffic is low.
    profiles, bad_profiles = (
        decode_profiles(*columns_of(records[PROFILES]), consent_required=consent_required)
        if records[PROFILES]
        else (_NO_PROFILES, [])
    )
    erasures, bad_erasures = (
        decode_erasures(*columns_of(records[ERASURES])) if records[ERASURES] else (_NO_ERASURES, [])
    )

    there = {topic: np.repeat(partitions, each) for topic, each in sizes.items()}
    purchases, bad_purchases, key_hashes = _in_place(
        purchases, bad_purchases, records[PURCHASES], there[PURCHASES], partitioning
    )
    profiles, bad_profiles, _ = _in_place(
        profiles, bad_profiles, records[PROFILES], there[PROFILES], partitioning
    )
    erasures, bad_erasures, _ = _in_place(
        erasures, bad_erasures, records[ERASURES], there[ERASURES], partitioning
    )

    valid = len(purchases.row)
    of_purchases = dict(zip(partitions, _ranges(purchases.row, sizes[PURCHASES]), strict=True))
    purchases, recalls, conflicts = _without_duplicates(
        purchases, key_hashes, of_purchases, seen or {}
    )

    rejected: dict[int, list[Rejected]] = {p: [] for p in partitions}
    for topic, bad in zip(INPUTS, (bad_purchases, bad_profiles, bad_erasures), strict=True):
        for rejection in bad:
            record = records[topic][rejection.row]
            rejected[record.partition].append(Rejected(record, rejection))

    accepted: tuple[Columns, Columns, Columns] = (purchases, profiles, erasures)
    ranges = [
        _ranges(columns.row, sizes[topic]) for topic, columns in zip(INPUTS, accepted, strict=True)
    ]
    rows: tuple[list[int], list[int], list[int]] = ([], [], [])
    slices: list[PartitionBatch] = []
    customers: list[str] = []
    for partition, *ats in zip(partitions, *ranges, strict=True):
        first = len(customers)
        row_of: dict[str, int] = {}
        for columns, at, out in zip(accepted, ats, rows, strict=True):
            out += [
                row_of.setdefault(name, first + len(row_of)) for name in columns.customer_id[at]
            ]
        customers += row_of
        slices.append(
            PartitionBatch(
                partition,
                slice(first, len(customers)),
                purchases=ats[0],
                profiles=ats[1],
                erasures=ats[2],
                next_offsets={
                    tp.topic: new[-1].offset + 1
                    for tp, new in polled.items()
                    if tp.partition == partition and new
                },
                rejected=rejected[partition],
                recall=recalls.get(partition),
            )
        )
    return MicroBatch(
        customers=customers,
        purchases=purchases,
        profiles=profiles,
        erasures=erasures,
        purchases_customer=np.array(rows[0], np.int64),
        profiles_customer=np.array(rows[1], np.int64),
        erasures_customer=np.array(rows[2], np.int64),
        records=records,
        slices=slices,
        duplicates=valid - len(purchases.row),
        conflicts=conflicts,
    )


def _in_place(
    columns: C,
    rejections: list[Rejection],
    records: Sequence[ConsumerRecord],
    partition: Int,
    partitioning: Partitioning | None,
) -> tuple[C, list[Rejection], KeyHashes]:
    """Reject valid records that are in another partition than their key's.

    ``partition`` (n,) is that of each record. Returns also the hashes of the keys that are left.
    """
    rows = columns.row
    keys = [records[row].key for row in rows.tolist()]
    hashes = hash_keys(keys, partitioning.partitioner if partitioning else "murmur2")
    if partitioning is None or not len(rows):
        return columns, rejections, hashes
    kept = partitioning.of_hashes(hashes) == partition[rows]
    if kept.all():
        return columns, rejections, hashes
    message = (
        f"key: {partitioning.partitioner} puts it in another of the {partitioning.partitions}"
        " partitions: set the producer's partitioner"
    )
    misplaced: set[int] = set(rows[~kept].tolist())
    bad = [each for each in rejections if each.row not in misplaced]
    bad += [Rejection(row, Reason.WRONG_PARTITION, message) for row in misplaced]
    return columns.where(kept), sorted(bad, key=attrgetter("row")), hashes[kept]


def _without_duplicates(
    purchases: Purchases,
    key_hashes: KeyHashes,
    of_partition: Mapping[int, slice],
    seen: Mapping[int, DedupWindow | None],
) -> tuple[Purchases, dict[int, DedupUpdate], int]:
    remembering = {partition: each for partition, each in seen.items() if each is not None}
    if not remembering or not len(purchases.row):
        return purchases, {}, 0
    hashes = fingerprints(
        hashes_of(purchases.event_id),
        key_hashes,
        purchases.occurred_at,
        purchases.cents,
        purchases.count,
    )
    conflicts = 0
    kept = np.ones(len(hashes), np.bool_)
    recalls: dict[int, DedupUpdate] = {}
    for partition, at in of_partition.items():
        if partition not in remembering:
            continue
        after, repeated, conflicting = remembering[partition].after(hashes[at])
        kept[at] = ~repeated
        conflicts += int(np.count_nonzero(conflicting))
        recalls[partition] = DedupUpdate(after, after.ring_writes(hashes[at]))
    return purchases if kept.all() else purchases.where(kept), recalls, conflicts


def columns_of(
    records: Sequence[ConsumerRecord],
) -> tuple[list[bytes | None], list[bytes | None], list[int]]:
    """Return the keys, values and timestamps of records."""
    return (
        [record.key for record in records],
        [record.value for record in records],
        [record.timestamp for record in records],
    )


def _ranges(row: Int, records: Sequence[int]) -> list[slice]:
    """Return the range of each partition among accepted rows.

    ``records`` is the number of records of each partition; rows are in partition order.
    """
    bounds = row.searchsorted(np.cumsum([0, *records])).tolist()
    return [slice(start, stop) for start, stop in pairwise(bounds)]
