"""The demo's progress, by the live view of `livesegments watch`, and its summary."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import duckdb
import numpy as np
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from livesegments.analysis.watch.session import WatchSession
from livesegments.analysis.watch.views import Frame, line
from livesegments.config.clients import kafka_config, open_store
from livesegments.config.settings import Settings
from livesegments.consumers.log_reader import LogReader
from livesegments.contracts.segments import SegmentChange, SegmentState
from livesegments.contracts.topics import CHANGES, DEAD_LETTERS, PURCHASES, STATES
from livesegments.demo import LIVE_FROM
from livesegments.rendering.formats import DOUBT
from livesegments.rendering.terminal import changes_table, segment_table

_VALUED, _LATELY = "high-value-customers", timedelta(days=30)
_NEXT = """\
  livesegments topics create   on your Kafka (LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS)
  livesegments run             a worker there (LIVESEGMENTS_REDIS_URL); start several
  livesegments subscribe       everyone's segment, then every change"""


def rows(purchases: Path, profiles: Path) -> tuple[int, int]:
    """Return the numbers of rows of Parquet files."""
    counts = [len(duckdb.read_parquet(str(each))) for each in (purchases, profiles)]
    return counts[0], counts[1]


class Progress:
    """Follows the service while its watch runs, and sums it up afterwards.

    ``groups`` is the file with the group of each of the made people, None for the households.

    Attributes
    ----------
    processed
        Purchases and profiles that the worker has committed.
    good
        Whether all checks of the summary hold.
    """

    def __init__(
        self, settings: Settings, partitions: int, began_s: float, groups: Path | None = None
    ) -> None:
        self._settings, self._partitions, self._began_s = settings, range(partitions), began_s
        self._groups, self._whom = groups, "people" if groups else "households"
        self._store = open_store(settings)
        self.watch = WatchSession(settings)
        self._versions: list[int] = []
        self._committed_s = time.time()
        self.processed, self.good = (0, 0), False

    def update(self) -> None:
        """Read the worker's progress from the store."""
        found = [each for each in self._store.checkpoints(self._partitions) if each]
        versions = [each.version for each in found]
        if versions != self._versions:
            self._versions, self._committed_s = versions, time.time()
        self.processed = sum(each.purchases for each in found), sum(each.profiles for each in found)

    @property
    def idle_seconds(self) -> float:
        """Time since the last commit."""
        return time.time() - self._committed_s

    @property
    def has_worker(self) -> bool:
        """Return whether a worker has started on the store."""
        return self._store.deployment() is not None

    @property
    def changed(self) -> bool:
        """Return whether a change has been published."""
        return bool(self.watch.snapshot().newest)

    def line(self) -> str:
        """Return the current state as a line."""
        return line(self.watch.snapshot())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the progress of the year, and the live view below it."""
        snapshot = self.watch.snapshot()
        at = snapshot.newest[0].occurred_at if snapshot.newest else None
        bar = Table.grid(Column(width=28), Column(ratio=1), expand=True, padding=(0, 1))
        bar.add_row(
            f"{at:%d %b %Y}" if at else "warm-up: 2,000 customers",
            ProgressBar(365, at.timetuple().tm_yday if at else 0, style="dim"),
        )
        yield bar
        height = (options.height or console.height) - 1
        yield from console.render(Frame(snapshot, "$"), options.update(height=height))

    def summarize(self, sent: tuple[int, int]) -> Iterator[RenderableType]:
        """Yield the summary, part by part, from the topics and the store; set `good`."""
        with LogReader(kafka_config(self._settings)) as log:
            topics = (CHANGES, STATES, PURCHASES, DEAD_LETTERS)
            records, states, purchases, rejected = (self._read(log, topic) for topic in topics)
        # Each partition stays in its order.
        records.sort(key=lambda each: each.timestamp)
        changes = [SegmentChange.model_validate_json(each.value) for each in records]
        snapshot, left = self.watch.snapshot(), _left(changes)
        took = (purchases[-1].timestamp - purchases[0].timestamp) / 1_000
        yield Text(
            f"{sent[0]:,} purchases and {sent[1]:,} profiles, {snapshot.records:,} {self._whom} in"
            f" {took:.1f} s",
            "bold",
        )
        first = records[0].timestamp / 1_000 - self._began_s if records else np.nan
        yield f"First change {first:.1f} s after the start."
        yield _latency(records, changes, purchases)
        yield Text("\nSegments at the end (purchases and spend in the last 90 days)", "bold")
        yield segment_table(snapshot.segments, snapshot.segmentation.features, 80, "$")
        if snapshot.doubted:
            yield DOUBT
        yield from snapshot.names
        if self._groups:
            from livesegments.demo.people import naming  # imports pandas

            yield naming(self._settings, self._groups)
        yield Text(f"\n{len(changes):,} changes", "bold")
        yield _kinds(changes)
        yield Text("\nFor marketing", "bold")
        yield f"{len(left):,} High-Value Customers left for another segment in the last 30 days:"
        yield changes_table(
            left[:5],
            80,
            lambda change: f"{change.occurred_at:%d %b}",
            from_one=True,
            doubted=snapshot.doubted,
        )
        yield Text("\nChecks", "bold")
        checks = _checks(changes, states, rejected)
        done = f"{sum(self.processed):,} of {sum(sent):,} events sent were processed"
        checks[done] = self.processed == sent
        for check, holds in checks.items():
            yield Text.assemble(("  ok  ", "green") if holds else ("  FAILED  ", "bold red"), check)
        self.good = bool(changes) and all(checks.values())
        yield Text("\nNext steps", "bold")
        yield _NEXT

    def _read(self, log: LogReader, topic: str) -> list[ConsumerRecord]:
        tps = [TopicPartition(topic, number) for number in self._partitions]
        starts, ends = log.starts(tps), log.ends(tps)
        batches = log.read({tp: (starts[tp], ends[tp]) for tp in tps})
        return [record for batch in batches for records in batch.values() for record in records]


def _checks(
    changes: Sequence[SegmentChange],
    states: Sequence[ConsumerRecord],
    rejected: Sequence[ConsumerRecord],
) -> dict[str, bool]:
    latest: dict[str, SegmentChange] = {}
    broken = 0
    for change in changes:
        before = latest.get(change.customer_id)
        broken += change.previous_segment != (before.segment if before else None)
        broken += before is not None and change.version <= before.version
        latest[change.customer_id] = change
    compacted = {each.key: SegmentState.model_validate_json(each.value) for each in states}
    stored = {(each.customer_id, each.segment, each.version) for each in compacted.values()}
    logged = {(each.customer_id, each.segment, each.version) for each in latest.values()}
    differing = len(stored ^ logged)
    return {
        f"{broken:,} of {len(changes):,} changes do not continue the one before": not broken,
        f"{differing:,} customers differ between compacted topic and change log": not differing,
        f"{len(rejected):,} dead letters": not rejected,
    }


def _latency(
    records: Sequence[ConsumerRecord],
    changes: Sequence[SegmentChange],
    purchases: Sequence[ConsumerRecord],
) -> str:
    arrived = {(each.partition, each.offset): each.timestamp for each in purchases}
    took = [
        record.timestamp - arrived[at]
        for record, change in zip(records, changes, strict=True)
        if change.cause and change.cause.topic == PURCHASES and change.occurred_at >= LIVE_FROM
        if (at := (change.cause.partition, change.cause.offset)) in arrived
    ]
    if not took:
        return "No purchase after January has changed a segment."
    median, tail = np.percentile(took, [50, 99])
    return f"From event to change, after January: median {median:.0f} ms, p99 {tail:.0f} ms."


def _kinds(changes: Sequence[SegmentChange]) -> Table:
    counts = Counter((each.change, each.origin) for each in changes)
    origins = sorted({origin for _, origin in counts})
    columns = (Column(origin, justify="right") for origin in (*origins, "all"))
    table = Table("origin", *columns, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for kind in ("assigned", "reassigned", "unassigned"):
        row = [counts[kind, origin] for origin in origins]
        table.add_row(kind, *(f"{count:,}" for count in (*row, sum(row))))
    return table


def _left(changes: Sequence[SegmentChange]) -> list[SegmentChange]:
    """Return how customers left the valued segment lately and stayed away, the latest first."""
    now = {each.customer_id: each.segment and each.segment.id for each in changes}
    latest = max((each.occurred_at for each in changes), default=None)
    lately = [each for each in changes if latest and each.occurred_at >= latest - _LATELY]
    before = [(each, each.previous_segment) for each in lately]
    left = {each.customer_id: each for each, was in before if was and was.id == _VALUED}
    stayed = [each for each in left.values() if now[each.customer_id] not in (None, _VALUED)]
    return sorted(stayed, key=lambda each: each.occurred_at, reverse=True)
