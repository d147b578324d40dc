import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.fold import advance, erase
from features.record import NEVER, decode, empty, encode
from features.window import window
from tests.features.events import (
    DAY,
    LAYOUT,
    Bought,
    Event,
    Profiled,
    Requested,
    cut,
    erasures,
    fold_batches,
    profiles,
    purchases,
    sums,
)

places = st.lists(st.integers(0, 100), max_size=4)
histories = st.lists(purchases | profiles | erasures, max_size=25).filter(
    # Of profiles with one time the log's order decides, so it must not be shuffled.
    lambda events: (
        len({e.at for e in events if isinstance(e, Profiled)})
        == sum(isinstance(e, Profiled) for e in events)
    )
)


@given(histories, st.data())
def test_any_order_and_any_cut_into_batches_give_the_same_bytes(
    events: list[Event], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(events))
    in_order, _ = fold_batches([events])
    in_batches, _ = fold_batches(cut(shuffled, data.draw(places)))
    assert encode(in_order) == encode(in_batches)


@given(histories, st.data())
def test_batches_may_be_stored_in_between(events: list[Event], data: st.DataObject) -> None:
    whole, _ = fold_batches([events])
    stored = decode(encode(whole), LAYOUT.tiles)
    assert encode(stored) == encode(whole)
    assert stored["suppressed"].tolist() == whole["suppressed"].tolist()


@given(st.lists(purchases | erasures, max_size=40), st.data())
def test_a_window_is_what_a_recomputation_from_the_events_gives(
    events: list[Event], data: st.DataObject
) -> None:
    records, _ = fold_batches(cut(data.draw(st.permutations(events)), data.draw(places)))
    latest = max((LAYOUT.tile(e.at) for e in events if isinstance(e, Bought)), default=0)
    clock_tile = data.draw(st.integers(latest, latest + LAYOUT.tiles + 1))
    at = window(records, clock_tile)
    assert (int(at.purchases[0]), int(at.cents[0])) == sums(events, clock_tile)


@given(st.lists(purchases, min_size=1, max_size=40), places)
def test_every_purchase_is_applied_or_counted_as_skipped(
    events: list[Event], where: list[int]
) -> None:
    records, skipped = fold_batches(cut(events, where))
    old = sum(each.older_than_window for each in skipped)
    # What the window passed later was applied at first, so a batch skips no more than that.
    head = int(records["head"][0])
    outside = sum(LAYOUT.tile(event.at) <= head - LAYOUT.tiles for event in events)
    assert 0 <= old <= outside
    [all_at_once] = fold_batches([events])[1]
    assert all_at_once.older_than_window == outside
    assert all_at_once.erased == 0


def test_a_late_purchase_lands_in_its_own_tile() -> None:
    records, _ = fold_batches([[Bought(17 * DAY, 500)], [Bought(9 * DAY, 300)]])
    assert records["head"][0] == 4
    assert records["counts"][0].tolist() == [0, 0, 1, 0, 1]
    assert records["cents"][0].tolist() == [0, 0, 300, 0, 500]


def test_what_is_older_than_the_window_is_counted_and_not_applied() -> None:
    records, skipped = fold_batches([[Bought(40 * DAY, 500)], [Bought(3 * DAY, 300)]])
    assert [each.older_than_window for each in skipped] == [0, 1]
    assert records["counts"].sum() == 1
    assert records["cents"].sum() == 500


def test_a_refund_lowers_spend_and_not_the_count() -> None:
    records, _ = fold_batches([[Bought(DAY, 500), Bought(DAY, -200)]])
    at = window(records, 0)
    assert (at.purchases[0], at.cents[0]) == (1, 300)


def test_customers_of_one_batch_do_not_touch_each_other() -> None:
    records = empty(3, LAYOUT.tiles)
    records["head"][1] = 7
    records["counts"][1] = 1
    advance(records, np.array([0, 8, 2]))
    assert records["head"].tolist() == [0, 8, 2]
    assert records["counts"].sum(axis=1).tolist() == [0, LAYOUT.tiles - 1, 0]


def test_a_newer_profile_replaces_all_of_an_older_one() -> None:
    older = Profiled(5 * DAY, age=30.0, income=1_000.0, urbanicity=1.0, marketing=1, profiling=1)
    newer = Profiled(6 * DAY, age=31.0)
    for batches in ([[older], [newer]], [[newer], [older]], [[older, newer]], [[newer, older]]):
        [record] = fold_batches(batches)[0]
        assert record["age"] == 31.0
        assert np.isnan(record["income"])
        assert np.isnan(record["urbanicity"])
        assert (record["marketing"], record["profiling"]) == (-1, -1)


def test_of_profiles_with_one_time_the_last_in_the_log_counts() -> None:
    first, last = Profiled(DAY, age=30.0), Profiled(DAY, age=40.0)
    for batches in ([[first, last]], [[first], [last]]):
        assert fold_batches(batches)[0]["age"][0] == 40.0


@given(st.lists(purchases | profiles | erasures, max_size=25), st.data())
def test_nothing_before_the_cutoff_survives_and_all_after_it_stays(
    events: list[Event], data: st.DataObject
) -> None:
    request = data.draw(erasures)
    mixed = data.draw(st.permutations([*events, request]))
    records, _ = fold_batches(cut(mixed, data.draw(places)))
    cutoff = max(LAYOUT.end(LAYOUT.tile(e.at)) for e in mixed if isinstance(e, Requested))
    kept = [event for event in mixed if isinstance(event, Requested) or event.at >= cutoff]
    only_later, _ = fold_batches([kept])
    for name in records.dtype.names or ():
        if name not in ("age", "income", "urbanicity", "marketing", "profiling"):
            assert records[name].tolist() == only_later[name].tolist(), name
    later = [event.at for event in kept if isinstance(event, Profiled)]
    assert records["profile_updated"][0] == max(later, default=NEVER)
    if not later:
        assert np.isnan(records["age"][0])
        assert records["profiling"][0] == -1


def test_an_erased_purchase_is_counted_as_such_before_its_age_is_looked_at() -> None:
    _, skipped = fold_batches([[Requested(40 * DAY), Bought(3 * DAY, 300), Bought(50 * DAY, 1)]])
    assert (skipped[0].erased, skipped[0].older_than_window) == (1, 0)


def test_an_erasure_leaves_no_trace_of_when_the_customer_bought() -> None:
    records, _ = fold_batches([[Bought(3 * DAY, 300)], [Requested(9 * DAY)]])
    assert records["head"][0] == 0


def test_erase_touches_only_the_records_given() -> None:
    records = empty(2, LAYOUT.tiles)
    records["head"], records["counts"] = 3, 1
    touched = records[:1]
    erase(touched, np.array([4]), np.array([LAYOUT.end(3)]))
    assert records["counts"].sum(axis=1).tolist() == [0, LAYOUT.tiles]
