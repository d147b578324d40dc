"""What the demo says at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from livesegments.demo_picture import Picture, milliseconds
from livesegments.demo_seen import Checks, Seen
from livesegments.demo_view import changes_table, segment_table, unassigned_line

_VALUED = "high-value-customers"
_LATELY = timedelta(days=30)
_SHOWN = 5
_GO_ON = """\
  livesegments topics create   on your Kafka (LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS)
  livesegments run             a worker there (LIVESEGMENTS_REDIS_URL); start several
  livesegments subscribe       everyone's segment, then every change\
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run went.

    Parameters
    ----------
    picture
        The last one.
    sent
        Purchases and profiles that were sent.
    first_change
        Seconds from the start to the first published change.
    streamed
        Seconds from the first purchase sent to the last one folded.
    checks
        Of the outputs.
    """

    picture: Picture
    sent: int
    first_change: float | None
    streamed: float
    checks: Checks

    @property
    def folded(self) -> int:
        """Purchases and profiles that the worker folded."""
        return self.picture.metrics.purchases + self.picture.metrics.profiles

    @property
    def good(self) -> bool:
        """Whether everything sent was folded, everyone got a segment and all checks hold."""
        return self.folded == self.sent and bool(self.checks.customers) and self.checks.hold


def summary(outcome: Outcome, seen: Seen) -> Iterator[RenderableType]:
    """Yield the summary, part by part."""
    picture, metrics = outcome.picture, outcome.picture.metrics
    rate = outcome.folded / max(outcome.streamed, 1e-9)
    first = "-" if outcome.first_change is None else f"{outcome.first_change:.1f} s"
    yield _title(
        f"{metrics.purchases:,} purchases and {metrics.profiles:,} profiles,"
        f" {outcome.checks.customers:,} households in {outcome.streamed:.1f} s"
    )
    yield Text(
        f"First change {first} after the start, all done after {picture.elapsed:.1f} s.\n"
        f"{rate:,.0f} events/s, as fast as they were sent.\n"
        f"From event to change: {milliseconds(metrics.latency)}."
    )
    yield _title("\nSegments at the end (purchases and spend in the last 90 days)")
    yield segment_table(picture.segments, 80)
    yield unassigned_line(picture)
    yield _title(f"\n{picture.changes:,} changes")
    yield _changes(seen)
    yield Text(f"{metrics.held_back:,} more held back: the other centroid was hardly nearer.")
    yield _title("\nFor marketing")
    yield from _departures(seen)
    yield _title("\nChecks")
    yield from _checks(outcome)
    yield _title("\nHow to go on")
    yield Text(_GO_ON)


def _title(text: str) -> Text:
    return Text(text, style="bold")


def _changes(seen: Seen) -> Table:
    kinds = seen.kinds()
    origins = sorted({origin for counts in kinds.values() for origin in counts})
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("origin")
    for origin in (*origins, "all"):
        table.add_column(origin, justify="right")
    for kind in ("assigned", "reassigned", "unassigned"):
        counts = [kinds.get(kind, Counter())[origin] for origin in origins]
        table.add_row(kind, *(f"{n:,}" for n in counts), f"{sum(counts):,}")
    return table


def _departures(seen: Seen) -> Iterator[RenderableType]:
    left = seen.left(_VALUED, _LATELY)
    yield Text(
        f"{len(left):,} High-Value Customers moved to another segment in the last"
        f" {_LATELY.days} days and stayed\naway: win them back while they still buy. The latest:"
    )
    yield changes_table(left[:_SHOWN], 80)


def _checks(outcome: Outcome) -> Iterator[Text]:
    checks = outcome.checks
    yield _check(
        outcome.folded == outcome.sent,
        f"all {outcome.sent:,} events sent were folded",
        f"{outcome.sent:,} events were sent, {outcome.folded:,} folded",
    )
    yield _check(
        not checks.broken_chains,
        f"each of {outcome.picture.changes:,} changes continues the customer's one before",
        f"{checks.broken_chains:,} changes do not continue the one before",
    )
    yield _check(
        not checks.disagreeing,
        f"the compacted topic agrees with the change log for all {checks.customers:,} households",
        f"the compacted topic disagrees with the change log for {checks.disagreeing:,} households",
    )
    yield _check(
        not checks.dead_letters, "no dead letters", f"{checks.dead_letters:,} dead letters"
    )


def _check(good: bool, passed: str, failed: str) -> Text:
    mark = ("  ok    ", "green") if good else ("  FAILED  ", "bold red")
    return Text.assemble(mark, passed if good else failed)
