"""Columnar decoding of a poll: records of every topic, with a row for each customer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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
from livesegments.contracts.partitioning import KeyHashes, hash_keys
from livesegments.contracts.topics import ERASURES, INPUTS, PROFILES, PURCHASES
from livesegments.contracts.validation import Keys, Values
from livesegments.domain import ProcessingConfig
from livesegments.features.dedup import DedupUpdate, DedupWindow, fingerprints, hashes_of

Int = NDArray[np.int64]
C = TypeVar("C", bound=Columns)

_NO_HASHES = hash_keys([], "murmur2")
_NO_PURCHASES = decode_purchases([], [], [], currency="")[0]
_NO_PROFILES, _NO_ERASURES = decode_profiles([], [], [])[0], decode_erasures([], [], [])[0]


@dataclass(frozen=True, slots=True)
class Rejected:
    """Input record that failed validation, and the reason."""

    record: ConsumerRecord
    rejection: Rejection


@dataclass(frozen=True, slots=True)
class PartitionBatch:
    """Slice of a micro-batch from one input partition; empty if only its sweep advances.

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
    config: ProcessingConfig,
    seen: Mapping[int, DedupWindow | None] = {},
) -> MicroBatch:
    """Decode the records of a poll.

    Parameters
    ----------
    polled
        Records by topic and partition, without those already processed.
    config
        Currency, consents and partitioning, which records must match.
    seen
        Partition -> its dedup window; without one, duplicates are kept. Each of these partitions
        gets a slice, polled or not.
    """
    partitions = sorted({tp.partition for tp in polled} | seen.keys())
    of_partition = {
        topic: [polled.get(TopicPartition(topic, p), ()) for p in partitions] for topic in INPUTS
    }
    records = {topic: list(chain.from_iterable(parts)) for topic, parts in of_partition.items()}
    sizes = {topic: list(map(len, parts)) for topic, parts in of_partition.items()}
    of_purchases = partial(decode_purchases, currency=config.currency)
    of_profiles = partial(decode_profiles, consent_required=config.consent_required)
    purchases, bad_purchases, key_hashes = _decoded(
        records[PURCHASES], of_purchases, _NO_PURCHASES, config
    )
    profiles, bad_profiles, _ = _decoded(records[PROFILES], of_profiles, _NO_PROFILES, config)
    erasures, bad_erasures, _ = _decoded(records[ERASURES], decode_erasures, _NO_ERASURES, config)
    rejected: dict[int, list[Rejected]] = {p: [] for p in partitions}
    for bad in chain(bad_purchases, bad_profiles, bad_erasures):
        rejected[bad.record.partition].append(bad)

    valid = len(purchases.row)
    ranges = dict(zip(partitions, _ranges(purchases.row, sizes[PURCHASES]), strict=True))
    purchases, recalls, conflicts = _without_duplicates(purchases, key_hashes, ranges, seen)

    accepted: tuple[Columns, Columns, Columns] = (purchases, profiles, erasures)
    ranges_of = {
        topic: _ranges(columns.row, sizes[topic])
        for topic, columns in zip(INPUTS, accepted, strict=True)
    }
    rows: dict[str, list[int]] = {topic: [] for topic in INPUTS}
    slices: list[PartitionBatch] = []
    customers: list[str] = []
    for i, partition in enumerate(partitions):
        first = len(customers)
        row_of: dict[str, int] = {}
        for topic, columns in zip(INPUTS, accepted, strict=True):
            rows[topic] += [
                row_of.setdefault(name, first + len(row_of))
                for name in columns.customer_id[ranges_of[topic][i]]
            ]
        customers += row_of
        polled_here = {topic: parts[i] for topic, parts in of_partition.items() if parts[i]}
        slices.append(
            PartitionBatch(
                partition,
                customers=slice(first, len(customers)),
                purchases=ranges_of[PURCHASES][i],
                profiles=ranges_of[PROFILES][i],
                erasures=ranges_of[ERASURES][i],
                next_offsets={topic: new[-1].offset + 1 for topic, new in polled_here.items()},
                rejected=rejected[partition],
                recall=recalls.get(partition),
            )
        )
    return MicroBatch(
        customers=customers,
        purchases=purchases,
        profiles=profiles,
        erasures=erasures,
        purchases_customer=np.array(rows[PURCHASES], np.int64),
        profiles_customer=np.array(rows[PROFILES], np.int64),
        erasures_customer=np.array(rows[ERASURES], np.int64),
        records=records,
        slices=slices,
        duplicates=valid - len(purchases.row),
        conflicts=conflicts,
    )


def _decoded(
    records: Sequence[ConsumerRecord],
    decode: Callable[[Keys, Values, Sequence[int]], tuple[C, list[Rejection]]],
    nothing: C,
    config: ProcessingConfig,
) -> tuple[C, list[Rejected], KeyHashes]:
    """Decode the records of a topic; reject also those in another partition than their key's.

    Returns also the hashes of the valid records' keys.
    """
    # Most micro-batches have one topic, and micro-batches are small when traffic is low.
    if not records:
        return nothing, [], _NO_HASHES
    partitioning = config.partitioning
    partitioner = partitioning.partitioner if partitioning else "murmur2"
    keys, values, timestamps_ms = columns_of(records)
    columns, rejections = decode(keys, values, timestamps_ms)
    rows = columns.row.tolist()
    hashes = hash_keys([keys[row] for row in rows], partitioner)
    if partitioning is not None:
        there = np.array([records[row].partition for row in rows], np.int64)
        kept = partitioning.of_hashes(hashes) == there
        if not kept.all():
            message = (
                f"key: {partitioner} puts it in another of the {partitioning.partitions}"
                " partitions: set the producer's partitioner"
            )
            misplaced: set[int] = set(columns.row[~kept].tolist())
            rejections = [each for each in rejections if each.row not in misplaced]
            rejections += [Rejection(row, Reason.WRONG_PARTITION, message) for row in misplaced]
            rejections.sort(key=attrgetter("row"))
            columns, hashes = columns.where(kept), hashes[kept]
    return columns, [Rejected(records[each.row], each) for each in rejections], hashes


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
        if partition not in remembering or at.start == at.stop:
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
