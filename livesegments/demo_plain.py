"""The demo without a terminal: lines of plain ASCII, one every few seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Console, RenderableType

from livesegments.demo_picture import (
    SIGMA,
    Picture,
    Step,
    day,
    deviations,
    milliseconds,
    reason,
    segment_name,
    share,
    warmup,
)

EVERY_SECONDS = 2.0

_ASCII = str.maketrans({"━": "#", "→": "->", SIGMA: " sd"})


class PlainView:
    """Prints what is new in the pictures it is shown."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: set[tuple[str, bool]] = set()
        self._next = 0.0

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to put back."""

    def show(self, picture: Picture) -> None:
        """Print each step as it begins and ends, and every few seconds where things stand."""
        for step in picture.steps:
            mark = (step.name, step.seconds is not None)
            if mark not in self._told:
                self._told.add(mark)
                self._print(picture, step_line(step))
        if picture.elapsed < self._next or not (picture.purchases or picture.changes):
            return
        self._next = picture.elapsed + EVERY_SECONDS
        for line in progress_lines(picture):
            self._print(picture, line)

    def summarize(self, parts: Iterable[RenderableType]) -> None:
        """Print the summary."""
        with self._console.capture() as drawn:
            for part in parts:
                self._console.print(part, highlight=False)
        for line in drawn.get().translate(_ASCII).splitlines():
            self._console.print(line.rstrip(), soft_wrap=True, markup=False, highlight=False)

    def _print(self, picture: Picture, line: str) -> None:
        self._console.print(
            f"{picture.elapsed:5.1f} s  {line}", soft_wrap=True, markup=False, highlight=False
        )


def step_line(step: Step) -> str:
    """Return a step as it begins, or as it ended."""
    if step.seconds is None:
        return f"{step.name} ..."
    return f"{step.name}: done in {step.seconds:.1f} s" + (step.detail and f", {step.detail}")


def progress_lines(picture: Picture) -> Iterator[str]:
    """Yield the line of a moment, with the facts of the live view."""
    metrics = picture.metrics
    if not picture.changes:
        yield f"{picture.purchases:,} purchases | {warmup(metrics)}"
        return
    rows = picture.segments
    rate = "-" if picture.rate is None else f"{picture.rate:,.0f}"
    total = "" if picture.total is None else f" of {picture.total:,}"
    sizes = ", ".join(f"{row.name} {row.customers} ({share(row.share)})" for row in rows)
    yield (
        f"{day(picture.event_time)} | {picture.purchases:,}{total} purchases, {rate}/s,"
        f" lag {metrics.lag:,} | {picture.changes:,} changes, {milliseconds(metrics.latency)}"
        f" | {sizes}, no segment {picture.unassigned} | PSI {deviations(metrics.psi)},"
        f" explained variance {share(metrics.explained_variance)},"
        f" {metrics.held_back:,} switches held back | {last_change(picture)}"
    )


def last_change(picture: Picture) -> str:
    """Return the latest change and why it came."""
    if not picture.recent:
        return "no change yet"
    change = picture.recent[0]
    return (
        f"household {change.customer_id}: {segment_name(change.previous_segment)} ->"
        f" {segment_name(change.segment)} ({reason(change, sigma=' sd')})"
    )
