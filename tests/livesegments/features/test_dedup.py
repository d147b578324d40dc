"""The dedup window, compared with a plain list of ids."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.consumers.decoding import decode_batch
from livesegments.features.dedup import DedupWindow, hashes_of
from tests.consumers.harness import RULES, World, by_partition, purchase, record

SIZES = st.integers(1, 12)
BATCHES = st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=9), max_size=12)


def repeats(ids: Sequence[str], size: int) -> list[bool]:
    """Return whether each id is among the ``size`` ids before it."""
    return [name in ids[max(0, place - size) : place] for place, name in enumerate(ids)]


def flags(seen: DedupWindow, batches: Sequence[Sequence[str]]) -> tuple[DedupWindow, list[bool]]:
    found: list[bool] = []
    for batch in batches:
        seen, repeated = seen.after(hashes_of(batch))
        found += repeated.tolist()
    return seen, found


@given(SIZES, BATCHES)
def test_an_id_is_a_repeat_when_it_is_among_the_last_ones_however_they_are_batched(
    size: int, batches: list[list[str]]
) -> None:
    ids = [name for batch in batches for name in batch]
    assert flags(DedupWindow(size), batches)[1] == repeats(ids, size)


@given(SIZES, BATCHES, BATCHES)
def test_a_stored_ring_remembers_what_was_seen_before(
    size: int, before: list[list[str]], later: list[list[str]]
) -> None:
    seen, ring = DedupWindow(size), bytearray()
    for batch in before:
        hashes = hashes_of(batch)
        seen, _ = seen.after(hashes)
        for at, part in seen.ring_writes(hashes):
            assert at <= len(ring), "a write leaves a hole"
            ring[at : at + len(part)] = part
    assert len(ring) == 8 * min(size, seen.count)
    loaded = DedupWindow.from_ring(size, seen.count, bytes(ring))
    assert flags(loaded, later)[1] == flags(seen, later)[1]


def test_what_is_remembered_stays_bounded_and_in_few_runs() -> None:
    seen = DedupWindow(1_000)
    for batch in range(300):
        seen, _ = seen.after(np.arange(batch * 37, batch * 37 + 37, dtype=np.uint64))
    assert sum(len(run.hashes) for run in seen.runs) <= 2_000
    assert len(seen.runs) <= 8


@pytest.mark.parametrize(
    ("event_id", "stored"),
    [("e-1", 12489684386117361974), ("é", 16908809132758853863), ("", 1760245841805064774)],
)
def test_hashes_are_those_that_stores_have_kept(event_id: str, stored: int) -> None:
    # With another hash, every repeat of a stored id would count.
    assert hashes_of([event_id]).tolist() == [stored]


def test_each_partition_remembers_its_own() -> None:
    events = [purchase("ann", 1), purchase("bob", 1)]
    polled = by_partition(
        World().record(event, partition) for event in events for partition in (0, 1, 0)
    )
    batch = decode_batch(polled, "USD", {0: DedupWindow(10), 1: DedupWindow(10)})
    assert batch.duplicates == 2
    assert [part.recall.seen.count for part in batch.slices if part.recall] == [4, 2]


def test_a_repeat_counts_for_nothing() -> None:
    world = World(rules=replace(RULES, dedup_events=3))
    bought = purchase("ann", 1)
    world.send(bought, purchase("bob", 2))
    kept, clock_us = world.customers[0]["ann"], world.owned[0].progress.clock_us
    world.restart()
    world.send({**bought, "occurred_at": purchase("ann", 5)["occurred_at"]})
    assert world.customers[0]["ann"] == kept
    assert world.owned[0].progress.clock_us == clock_us
    assert world.owned[0].progress.remembered == 3
    # By now three others followed the first one, and its repeat was among them.
    world.send(purchase("bob", 3), purchase("bob", 4), purchase("bob", 5), bought)
    assert world.customers[0]["ann"] != kept


def test_a_rejected_purchase_is_not_remembered() -> None:
    bought = purchase("ann", 1)
    seen = DedupWindow(10)
    batch = decode_batch(
        by_partition([record("purchases.v1", 0, b"bob", World().record(bought).value)]),
        "USD",
        {0: seen},
    )
    assert batch.slices[0].rejected
    assert batch.slices[0].recall is None
