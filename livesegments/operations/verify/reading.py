"""Consistent reading of a partition while workers change it.

Reading a partition in one step would block Redis. So records are read in chunks, each with the
checkpoint of that moment: such a record follows from the inputs below its offsets. Some checks need
all records at one version. For these, customers with events since their record was read are read
again together with the checkpoint. If no other customer has had an event by then, all records are
at that version.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError
from kafka.structs import OffsetAndMetadata

from livesegments.contracts.topics import INPUTS
from livesegments.operations.verify.kafka_log import Log
from livesegments.operations.verify.reference import Inputs
from livesegments.operations.verify.store_reader import (
    CHUNK,
    Cut,
    Shape,
    Store,
    StoredCustomer,
    read_customer,
)

SCANS = 3
"""Number of full scans of a partition, in case its store loses commits meanwhile."""
TRIES = 12
AHEAD = 2_000
"""Input records beyond the store's offsets whose customers are read too, since they may be
committed by then."""
MOST_AT_ONCE = 5 * CHUNK
STILL = 3
"""The wait for a store that makes no progress ends after 1 / `STILL` of the timeout."""
PAUSE_SECONDS = 0.2


@dataclass(slots=True)
class Records:
    """Records of a partition, each with the cut at which it was read.

    ``first`` and ``last`` are the cuts at the begin and the end of reading. ``found`` has each
    customer's stored bytes, None without a record. If ``whole``, all records and the statistics are
    as of ``last``.
    """

    shape: Shape
    first: Cut
    last: Cut
    found: dict[str, tuple[bytes | None, Cut]]
    statistics: dict[int, bytes] = field(default_factory=dict)
    outbox: list[int] = field(default_factory=list)
    whole: bool = False

    def cut(self, name: str) -> Cut:
        """Return the cut at which a customer's record was read."""
        return self.found[name][1] if name in self.found else self.last

    def get(self, name: str) -> StoredCustomer | None:
        """Return a customer's record."""
        data = self.found[name][0] if name in self.found else None
        return None if data is None else read_customer(data, self.shape)

    def present(self) -> Iterator[tuple[str, StoredCustomer, Cut]]:
        """Yield every existing record."""
        for name, (data, cut) in self.found.items():
            if data is not None:
                yield name, read_customer(data, self.shape), cut

    def cuts(self) -> list[Cut]:
        """Return each cut at which a record was read."""
        return list({cut.version: cut for _, cut in self.found.values()}.values())


class InputReader:
    """Reads the inputs of a partition as far as needed."""

    def __init__(self, log: Log, partition: int, inputs: Inputs) -> None:
        self._log, self._partition, self.inputs = log, partition, inputs

    def read(self, offsets: Mapping[str, int], ahead: int = 0) -> None:
        """Read up to the given offsets, and up to ``ahead`` records further where available."""
        wanted = [topic for topic, at in offsets.items() if at + ahead > self.inputs.read[topic]]
        ends = self._log.stable_ends(wanted, self._partition) if wanted else {}
        for topic, stable_end in ends.items():
            start = self.inputs.read[topic]
            # Store offsets beyond the log's end are reported as a separate fault.
            end = min(offsets[topic] + ahead, stable_end)
            if end > start:
                records = self._log.read(topic, self._partition, end, start=start)
                self.inputs.add(topic, records, end)


def read_records(store: Store, reader: InputReader, shape: Shape, tile_us: int) -> Records:
    """Read all records of a partition, at a single version if possible."""
    records = _scan(store, shape)
    inputs = reader.inputs
    for _ in range(TRIES):
        reader.read(records.last.offsets, AHEAD)
        stale = [name for name in inputs.customers if _is_stale(records, inputs, name)]
        if len(stale) > MOST_AT_ONCE:
            _read(records, store, stale)
            stale = []
        look = store.look(stale)
        records.last, records.statistics, records.outbox = look.cut, look.statistics, look.outbox
        records.found.update((name, (data, look.cut)) for name, data in look.records.items())
        reader.read(look.cut.offsets)
        if not _are_steady(records, tile_us):
            break
        records.whole = _are_of_one_version(records, inputs)
        if records.whole:
            break
    # Customers whose first event came during the last look would count as lost.
    _read(records, store, [name for name in inputs.customers if name not in records.found])
    return records


def _scan(store: Store, shape: Shape) -> Records:
    for left in reversed(range(SCANS)):
        found: dict[str, tuple[bytes | None, Cut]] = {}
        cuts: list[Cut] = []
        for cut, page in store.scan():
            found.update((name, (data, cut)) for name, data in page.items())
            cuts.append(cut)
        if not left or all(before.version <= after.version for before, after in pairwise(cuts)):
            return Records(shape, cuts[0], cuts[-1], found)
    raise AssertionError("the last scan is taken as it is")


def _read(records: Records, store: Store, names: Sequence[str]) -> None:
    """Read the records of some customers, in chunks."""
    left = iter(names)
    while chunk := list(islice(left, CHUNK)):
        cut, found = store.records(chunk)
        records.found.update((name, (data, cut)) for name, data in found.items())


def _is_stale(records: Records, inputs: Inputs, name: str) -> bool:
    """Return whether a customer has had events since their record was read."""
    if name not in records.found:
        return True
    return inputs.customers[name].has_events_between(records.found[name][1].offsets, inputs.read)


def _are_steady(records: Records, tile_us: int) -> bool:
    """Return whether only events have changed records since the first was read.

    Sweeps and recoveries also change records, and are recorded in the checkpoint.
    """
    last = records.last
    earlier = [cut for cut in records.cuts() if cut.version != last.version]
    as_of = (last.swept_generation, last.swept_tile)
    return not earlier or all(
        cut.is_swept(tile_us)
        and not cut.recovering
        and (cut.swept_generation, cut.swept_tile) == as_of
        and cut.version <= last.version
        for cut in (*earlier, last)
    )


def _are_of_one_version(records: Records, inputs: Inputs) -> bool:
    last = records.last
    return not any(
        cut.version != last.version
        and inputs.customers[name].has_events_between(cut.offsets, last.offsets)
        for name, (_, cut) in records.found.items()
        if name in inputs.customers
    ) and all(name in records.found for name in inputs.customers)


@dataclass(frozen=True, slots=True)
class Committed:
    """The group's offsets of a partition, and the version committed with them, 0 for none."""

    offsets: dict[str, int]
    version: int
    known: bool

    @classmethod
    def read(cls, consumer: KafkaConsumer, partition: int, patience_seconds: float) -> "Committed":
        """Read the offsets; retry if a transaction changed them during the read.

        Raises `TimeoutError` if a transaction that would change them stays open.
        """
        tries = 1
        read = cls._read(consumer, partition, patience_seconds)
        while read.known and not read.version and tries < TRIES:
            read, tries = cls._read(consumer, partition, patience_seconds), tries + 1
        return read

    @classmethod
    def _read(cls, consumer: KafkaConsumer, partition: int, patience_seconds: float) -> "Committed":
        try:
            found: list[OffsetAndMetadata | None] = [
                consumer.committed(
                    TopicPartition(topic, partition),
                    metadata=True,
                    timeout_ms=round(patience_seconds * 1_000),
                )
                for topic in INPUTS
            ]
        except KafkaTimeoutError as error:
            raise TimeoutError(
                f"the group's offsets of partition {partition} cannot be read for"
                f" {patience_seconds:.0f} s: a transaction hangs open, or the broker is away"
            ) from error
        metadata = {each.metadata or "" for each in found if each}
        own = next(iter(metadata)).rpartition(":")[2] if len(metadata) == 1 else ""
        return cls(
            {topic: each.offset if each else 0 for topic, each in zip(INPUTS, found, strict=True)},
            int(own) if own.isdigit() else 0,
            all(found),
        )


def wait_for_publication(
    store: Store, committed: Callable[[], Committed], look: Records, patience_seconds: float
) -> Committed:
    """Wait until the outbox is published; give up on a timeout or a lack of progress."""
    began = moved = time.monotonic()
    before: tuple[int, int] | None = None
    while True:
        now, at = committed(), time.monotonic()
        pending = unpublished(look, now)
        state = (store.look().cut.version, now.version) if pending else None
        if state != before:
            before, moved = state, at
        waited_out = at - began > patience_seconds or at - moved > patience_seconds / STILL
        if not pending or not now.known or waited_out:
            return now
        time.sleep(PAUSE_SECONDS)


def wait_for_offsets(
    committed: Callable[[], Committed], first: Cut, after: Cut, patience_seconds: float
) -> Committed:
    """Return Kafka's offsets, once no older than the first cut if any worker is committing."""
    deadline = time.monotonic() + patience_seconds
    while True:
        now = committed()
        is_late = now.known and after.version > first.version > now.version
        if not is_late or time.monotonic() > deadline:
            return now
        time.sleep(PAUSE_SECONDS)


def unpublished(records: Records, committed: Committed) -> list[int]:
    """Return the outbox versions not covered by Kafka's offsets, which were read after it."""
    return [version for version in records.outbox if version > committed.version]


def published_through(records: Records, committed: Committed) -> float:
    """Return the version up to which all outputs can be read.

    The outbox was read before the offsets, so it lacks only versions published by then.
    """
    pending = unpublished(records, committed)
    return min(pending) - 1 if pending else max(records.last.version, committed.version)
