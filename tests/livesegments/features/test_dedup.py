"""The dedup window, compared with a plain list of ids."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.consumers.decoding import decode_batch
from livesegments.features.dedup import DedupWindow, fingerprints, hashes_of
from tests.consumers.harness import RULES, World, at, by_partition, purchase, record

SIZES = st.integers(1, 12)
BATCHES = st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=9), max_size=12)


def repeats(ids: Sequence[str], size: int) -> list[bool]:
    """Return whether each id is among the ``size`` ids before it."""
    return [name in ids[max(0, place - size) : place] for place, name in enumerate(ids)]


def flags(seen: DedupWindow, batches: Sequence[Sequence[str]]) -> tuple[DedupWindow, list[bool]]:
    found: list[bool] = []
    for batch in batches:
        seen, repeated, _ = seen.after(hashes_of(batch))
        found += repeated.tolist()
    return seen, found


@given(SIZES, BATCHES)
def test_an_id_is_a_repeat_when_it_is_among_the_last_ones_however_they_are_batched(
    size: int, batches: list[list[str]]
) -> None:
    ids = [name for batch in batches for name in batch]
    assert flags(DedupWindow(size), batches)[1] == repeats(ids, size)


CONTENTS = st.sampled_from([0, 1, 2, 0xFFFF])


@st.composite
def batches_of_fingerprints(draw: st.DrawFn) -> list[list[int]]:
    """Batches of fingerprints of a few ids, each with a few contents."""
    one = st.builds(lambda name, content: name << 16 | content, st.integers(0, 3), CONTENTS)
    return draw(st.lists(st.lists(one, max_size=9), max_size=8))


@given(batches_of_fingerprints())
def test_an_id_with_other_content_is_a_conflict_and_no_repeat(batches: list[list[int]]) -> None:
    seen = DedupWindow(1_000)
    repeated: list[bool] = []
    conflicting: list[bool] = []
    for batch in batches:
        seen, again, conflicts = seen.after(np.array(batch, np.uint64))
        repeated += again.tolist()
        conflicting += conflicts.tolist()
    sent = [each for batch in batches for each in batch]
    assert repeated == [each in sent[:place] for place, each in enumerate(sent)]
    assert conflicting == [
        each not in sent[:place] and each >> 16 in [other >> 16 for other in sent[:place]]
        for place, each in enumerate(sent)
    ]


@given(SIZES, batches_of_fingerprints())
def test_no_repeat_is_a_conflict_and_no_lone_id_either(size: int, batches: list[list[int]]) -> None:
    seen = DedupWindow(size)
    sent: list[int] = []
    for batch in batches:
        seen, again, conflicts = seen.after(np.array(batch, np.uint64))
        assert not (again & conflicts).any()
        for each, conflict in zip(batch, conflicts.tolist(), strict=True):
            others = {other for other in sent if other >> 16 == each >> 16} - {each}
            assert others or not conflict
            sent.append(each)


FIRST = ("e", 7, 1_000_000, 500, 1)
OTHERS = [("e", 8, 1_000_000, 500, 1), ("e", 7, 1_000_001, 500, 1)]
OTHERS += [("e", 7, 1_000_000, 501, 1), ("e", 7, 1_000_000, -500, 0), ("e", 7, 1_000_000, 500, 0)]


def print_of(event_id: str, customer: int, at: int, cents: int, count: int) -> int:
    columns = (np.array([each], np.int64) for each in (at, cents, count))
    [found] = fingerprints(hashes_of([event_id]), np.array([customer], np.uint32), *columns)
    return int(found)


@pytest.mark.parametrize("other", OTHERS)
def test_any_difference_of_the_content_makes_another_fingerprint_of_the_same_id(
    other: tuple[str, int, int, int, int],
) -> None:
    assert print_of(*FIRST) != print_of(*other)
    assert print_of(*FIRST) >> 16 == print_of(*other) >> 16
    assert print_of(*FIRST) >> 16 != print_of("f", *FIRST[1:]) >> 16


def test_contents_spread_over_their_bits() -> None:
    # Of 10,000 drawn from 65,536, 9,276 differ on average.
    n = np.arange(10_000)
    ids, ones = np.zeros(len(n), np.uint64), np.ones(len(n), np.int64)
    for customers, times, cents in ((n, ones, ones), (ones, n, ones), (ones, ones, n)):
        found = fingerprints(ids, customers.astype(np.uint32), times, cents, ones)
        assert 9_150 < len(set(found.tolist())) < 9_400


@given(SIZES, BATCHES, BATCHES)
def test_a_stored_ring_remembers_what_was_seen_before(
    size: int, before: list[list[str]], later: list[list[str]]
) -> None:
    seen, ring = DedupWindow(size), bytearray()
    for batch in before:
        hashes = hashes_of(batch)
        seen, _, _ = seen.after(hashes)
        for start, part in seen.ring_writes(hashes):
            assert start <= len(ring), "a write leaves a hole"
            ring[start : start + len(part)] = part
    assert len(ring) == 8 * min(size, seen.count)
    loaded = DedupWindow.from_ring(size, seen.count, bytes(ring))
    assert flags(loaded, later)[1] == flags(seen, later)[1]


def test_what_is_remembered_stays_bounded_and_in_few_runs() -> None:
    seen = DedupWindow(1_000)
    for batch in range(300):
        seen, _, _ = seen.after(np.arange(batch * 37, batch * 37 + 37, dtype=np.uint64))
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
    batch = decode_batch(polled, RULES, {0: DedupWindow(10), 1: DedupWindow(10)})
    assert batch.duplicates == 2
    assert [part.recall.seen.count for part in batch.slices if part.recall] == [4, 2]


def test_a_repeat_counts_for_nothing() -> None:
    world = World(config=replace(RULES, dedup_events=3))
    bought = purchase("ann", 1)
    world.send(bought, purchase("bob", 2))
    kept, clock_us = world.customers[0]["ann"], world.owned[0].checkpoint.clock_us
    world.restart()
    world.send({**bought, "items": 3, "channel": "web"})
    assert world.customers[0]["ann"] == kept
    assert world.owned[0].checkpoint.clock_us == clock_us
    assert world.owned[0].checkpoint.remembered == 3
    # By now three others followed the first one, and its repeat was among them.
    world.send(purchase("bob", 3), purchase("bob", 4), purchase("bob", 5), bought)
    assert world.customers[0]["ann"] != kept


def test_an_order_number_as_event_id_costs_no_purchase() -> None:
    # An order, its refund, and a placeholder of two customers.
    order = purchase("42", 1, 80.0, event_id="order-77")
    events = [
        order,
        {**order, "kind": "refund", "occurred_at": at(4)},
        purchase("43", 1, 20.0, event_id="(not set)"),
        purchase("44", 1, 25.0, event_id="(not set)"),
    ]
    world = World(config=replace(RULES, dedup_events=10))
    batch = world.work([world.record(event) for event in [*events, *events]]).batch
    assert (batch.duplicates, batch.conflicts) == (4, 2)
    assert batch.purchases.cents.tolist() == [8_000, -8_000, 2_000, 2_500]


def test_a_rejected_purchase_is_not_remembered() -> None:
    bought = purchase("ann", 1)
    seen = DedupWindow(10)
    batch = decode_batch(
        by_partition([record("purchases.v1", 0, b"bob", World().record(bought).value)]),
        RULES,
        {0: seen},
    )
    assert batch.slices[0].rejected
    assert batch.slices[0].recall is None
