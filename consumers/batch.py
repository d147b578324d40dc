"""One poll as columns: every topic's records decoded, every customer given a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from numpy.typing import NDArray

from contracts.decode import (
    Erasures,
    Profiles,
    Purchases,
    Rejection,
    decode_erasures,
    decode_profiles,
    decode_purchases,
)
from contracts.topics import ERASURES, INPUTS, PROFILES, PURCHASES

Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that no contract takes, and why."""

    record: ConsumerRecord
    rejection: Rejection


@dataclass(frozen=True, slots=True)
class Slice:
    """The part of a batch that came from one input partition.

    Attributes
    ----------
    customers
        Customer id -> row among the slice's customers, in order of appearance.
    purchases, profiles, erasures
        Ranges in the columns of the batch.
    next_offsets
        Input topic -> offset after the last record of it in the slice.
    rejected
        The slice's dead letters.
    """

    partition: int
    customers: dict[str, int]
    purchases: slice
    profiles: slice
    erasures: slice
    next_offsets: dict[str, int]
    rejected: list[Rejected]


@dataclass(frozen=True, slots=True)
class Batch:
    """All records of one poll.

    ``*_customer`` (n,) holds each accepted record's row among its slice's customers; ``records``
    are the polled records by topic, accepted or not.
    """

    purchases: Purchases
    profiles: Profiles
    erasures: Erasures
    purchases_customer: Int
    profiles_customer: Int
    erasures_customer: Int
    records: dict[str, list[ConsumerRecord]]
    slices: list[Slice]
    consumed: dict[str, int]
    """Input topic -> records polled."""

    def record(self, topic: str, column: int) -> ConsumerRecord:
        """Return the record that an accepted column of a topic came from."""
        rows = {PURCHASES: self.purchases, PROFILES: self.profiles, ERASURES: self.erasures}
        return self.records[topic][int(rows[topic].row[column])]

    def event_id(self, topic: str, column: int) -> str | None:
        """Return the id of an event; a profile has none."""
        if topic == PURCHASES:
            return self.purchases.event_id[column]
        return self.erasures.request_id[column] if topic == ERASURES else None


def decode_batch(
    polled: Mapping[TopicPartition, Sequence[ConsumerRecord]], currency: str
) -> Batch:
    """Decode what a poll returned.

    Parameters
    ----------
    polled
        Records by topic and partition, without those that were folded before.
    currency
        The one currency the deployment takes.
    """
    partitions = sorted({tp.partition for tp in polled})
    of_topic: dict[str, list[ConsumerRecord]] = {
        topic: list(chain.from_iterable(polled.get(TopicPartition(topic, p), ()) for p in partitions))
        for topic in INPUTS
    }
    purchases, bad_purchases = decode_purchases(
        *_columns(of_topic[PURCHASES]), currency=currency
    )
    profiles, bad_profiles = decode_profiles(*_columns(of_topic[PROFILES]))
    erasures, bad_erasures = decode_erasures(*_columns(of_topic[ERASURES]))
    rejected: dict[int, list[Rejected]] = {p: [] for p in partitions}
    for topic, bad in zip(INPUTS, (bad_purchases, bad_profiles, bad_erasures), strict=True):
        for rejection in bad:
            record = of_topic[topic][rejection.row]
            rejected[record.partition].append(Rejected(record, rejection))

    ranges = [
        _ranges(of_topic[topic], columns.row, partitions)
        for topic, columns in zip(INPUTS, (purchases, profiles, erasures), strict=True)
    ]
    rows: tuple[list[int], list[int], list[int]] = ([], [], [])
    slices: list[Slice] = []
    for i, partition in enumerate(partitions):
        customers: dict[str, int] = {}
        for ids, at, out in zip(
            (purchases.customer_id, profiles.customer_id, erasures.customer_id),
            (ranges[0][i], ranges[1][i], ranges[2][i]),
            rows,
            strict=True,
        ):
            out += [customers.setdefault(name, len(customers)) for name in ids[at]]
        slices.append(
            Slice(
                partition=partition,
                customers=customers,
                purchases=ranges[0][i],
                profiles=ranges[1][i],
                erasures=ranges[2][i],
                next_offsets={
                    tp.topic: records[-1].offset + 1
                    for tp, records in polled.items()
                    if tp.partition == partition and records
                },
                rejected=rejected[partition],
            )
        )
    return Batch(
        purchases=purchases,
        profiles=profiles,
        erasures=erasures,
        purchases_customer=np.array(rows[0], np.int64),
        profiles_customer=np.array(rows[1], np.int64),
        erasures_customer=np.array(rows[2], np.int64),
        records=of_topic,
        slices=slices,
        consumed={topic: len(records) for topic, records in of_topic.items()},
    )


def _columns(
    records: Sequence[ConsumerRecord],
) -> tuple[list[bytes | None], list[bytes | None], list[int]]:
    return (
        [record.key for record in records],
        [record.value for record in records],
        [record.timestamp for record in records],
    )


def _ranges(
    records: Sequence[ConsumerRecord], row: Int, partitions: Sequence[int]
) -> list[slice]:
    """Return the range of each partition among accepted rows, which are in partition order."""
    of_record = np.array([record.partition for record in records], np.int64)
    starts = np.searchsorted(of_record[row], [*partitions, partitions[-1] + 1] if partitions else [])
    return [slice(a, b) for a, b in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)]
