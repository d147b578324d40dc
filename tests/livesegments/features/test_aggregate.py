import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.features.aggregate import advance, erase
from livesegments.features.erasures import Action
from livesegments.features.record_codec import NEVER, decode, empty, encode
from livesegments.features.window import window
from tests.livesegments.features.events import (
    DAY,
    LAYOUT,
    SHAPE,
    Bought,
    Event,
    Profiled,
    Requested,
    cut,
    erasures,
    fold_batches,
    nulls,
    profiles,
    purchases,
    sums,
)

places = st.lists(st.integers(0, 100), max_size=4)
histories = st.lists(purchases | profiles | nulls | erasures, max_size=25)


def shuffled(events: list[Event], data: st.DataObject) -> list[Event]:
    """Events in any order, except that profiles keep the order of the log."""
    known = (event for event in events if isinstance(event, Profiled))
    mixed = data.draw(st.permutations(events))
    return [next(known) if isinstance(event, Profiled) else event for event in mixed]


@given(histories, st.data())
def test_any_interleaving_and_any_cut_into_batches_give_the_same_bytes(
    events: list[Event], data: st.DataObject
) -> None:
    in_order, _ = fold_batches([events])
    in_batches, _ = fold_batches(cut(shuffled(events, data), data.draw(places)))
    assert encode(in_order) == encode(in_batches)


@given(histories, st.data())
def test_any_compaction_of_profiles_gives_the_same_bytes(
    events: list[Event], data: st.DataObject
) -> None:
    known = [event for event in events if isinstance(event, Profiled)]
    older = known[: data.draw(st.integers(0, len(known)))]
    last = older[-1:]
    if last and not last[0].says_anything and data.draw(st.booleans()):
        last = []
    others = [event for event in events if not isinstance(event, Profiled)]
    compacted = [*others, *last, *known[len(older) :]]
    live, _ = fold_batches(cut(events, data.draw(places)))
    rebuilt, _ = fold_batches(cut(shuffled(compacted, data), data.draw(places)))
    assert encode(live) == encode(rebuilt)


@given(histories, st.data())
def test_batches_may_be_stored_in_between(events: list[Event], data: st.DataObject) -> None:
    whole, _ = fold_batches([events])
    stored = decode(encode(whole), SHAPE)
    assert encode(stored) == encode(whole)
    assert stored["suppressed"].tolist() == whole["suppressed"].tolist()


@given(st.lists(purchases | erasures, max_size=40), st.data())
def test_a_window_is_what_a_recomputation_from_the_events_gives(
    events: list[Event], data: st.DataObject
) -> None:
    records, _ = fold_batches(cut(data.draw(st.permutations(events)), data.draw(places)))
    latest = max((LAYOUT.tile(e.at) for e in events if isinstance(e, Bought)), default=0)
    clock_tile = data.draw(st.integers(latest, latest + LAYOUT.tiles + 1))
    at = window(records, clock_tile, LAYOUT)
    assert (int(at.purchases[0]), int(at.cents[0])) == sums(events, clock_tile)


@given(st.lists(purchases, min_size=1, max_size=40), places)
def test_every_purchase_is_applied_or_counted_as_skipped(
    events: list[Event], where: list[int]
) -> None:
    records, skipped = fold_batches(cut(events, where))
    old = sum(each.older_than_window for each in skipped)
    # Events that the window passed only later have been applied, so batches skip no more.
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
    at = window(records, 0, LAYOUT)
    assert (at.purchases[0], at.cents[0]) == (1, 300)


def test_customers_of_one_batch_do_not_touch_each_other() -> None:
    records = empty(3, SHAPE)
    records["head"][1] = 7
    records["counts"][1] = 1
    advance(records, np.array([0, 8, 2]))
    assert records["head"].tolist() == [0, 8, 2]
    assert records["counts"].sum(axis=1).tolist() == [0, LAYOUT.tiles - 1, 0]


@pytest.mark.parametrize("at", [4 * DAY, 5 * DAY, 6 * DAY])
def test_the_last_profile_of_the_log_replaces_all_whatever_its_time(at: int) -> None:
    before = Profiled(5 * DAY, age=30.0, income=1_000.0, urbanicity=1.0, marketing=1, profiling=0)
    for batches in ([[before], [Profiled(at, age=31.0)]], [[before, Profiled(at, age=31.0)]]):
        [record] = fold_batches(batches)[0]
        assert record["age"] == 31.0
        assert np.isnan(record["income"])
        assert np.isnan(record["urbanicity"])
        assert (record["marketing"], record["profiling"]) == (-1, -1)


@pytest.mark.parametrize("at", [0, 4 * DAY, 9 * DAY])
def test_a_null_beats_all_before_it_and_leaves_what_no_profile_leaves(at: int) -> None:
    known = Profiled(5 * DAY, age=30.0, marketing=0, profiling=0)
    nothing = encode(empty(1, SHAPE))
    for batches in ([[known], [Profiled(at)]], [[known, Profiled(at)]]):
        assert encode(fold_batches(batches)[0]) == nothing
    again, _ = fold_batches([[known], [Profiled(at)], [known]])
    assert encode(again) == encode(fold_batches([[known]])[0])


@given(st.lists(purchases | profiles | nulls | erasures, max_size=25), st.data())
def test_nothing_before_the_cutoff_survives_but_refusals_and_all_after_it_stays(
    events: list[Event], data: st.DataObject
) -> None:
    mixed = shuffled([*events, data.draw(erasures)], data)
    records, _ = fold_batches(cut(mixed, data.draw(places)))
    cutoff = max(LAYOUT.end(LAYOUT.tile(e.at)) for e in mixed if isinstance(e, Requested))
    last = next((e for e in reversed(mixed) if isinstance(e, Profiled)), Profiled(0))
    if last.at < cutoff:
        refused = (0 if consent == 0 else -1 for consent in (last.marketing, last.profiling))
        last = Profiled(NEVER, np.nan, np.nan, np.nan, *refused)
    names = ("age", "income", "urbanicity", "marketing", "profiling")
    for name in names:
        np.testing.assert_equal(records[name].tolist(), [getattr(last, name)])
    assert records["profile_updated"][0] == (last.at if last.says_anything else NEVER)
    others = [event for event in mixed if not isinstance(event, Profiled)]
    later = [event for event in others if isinstance(event, Requested) or event.at >= cutoff]
    only_later, _ = fold_batches([later])
    for name in set(records.dtype.names or ()) - {*names, "profile_updated"}:
        np.testing.assert_equal(records[name], only_later[name], name)


REFUSED = Profiled(5 * DAY, age=30.0, income=1.0, marketing=0, profiling=0)


@pytest.mark.parametrize(
    "batches",
    [
        [[REFUSED], [Requested(6 * DAY)]],
        [[Requested(6 * DAY)], [REFUSED]],
        [[REFUSED, Requested(6 * DAY)]],
        [[Requested(4 * DAY)], [REFUSED]],
        [[Requested(4 * DAY, Action.SUPPRESS)], [REFUSED], [Requested(9 * DAY, Action.RESTORE)]],
        [[REFUSED], [Requested(6 * DAY)], [Requested(30 * DAY)]],
    ],
    ids=["before", "late", "at once", "after it in its tile", "while suppressed", "erased twice"],
)
def test_a_refusal_survives_an_erasure_and_nothing_else_of_its_profile(
    batches: list[list[Event]],
) -> None:
    [record] = fold_batches(batches)[0]
    assert (record["marketing"], record["profiling"]) == (0, 0)
    assert np.isnan([record[name] for name in ("age", "income", "urbanicity")]).all()
    assert record["profile_updated"] == NEVER


def test_a_consent_agreedbefore_the_cutoff_is_not_known_any_more() -> None:
    agreed = Profiled(5 * DAY, marketing=1, profiling=1)
    request = Requested(5 * DAY)
    early: list[list[Event]] = [[agreed], [request]]
    late: list[list[Event]] = [[request], [REFUSED, agreed]]
    for batches in (early, late):
        [record] = fold_batches(batches)[0]
        assert (record["marketing"], record["profiling"]) == (-1, -1)


def test_an_erased_purchase_is_counted_as_such_before_its_age_is_looked_at() -> None:
    _, skipped = fold_batches([[Requested(40 * DAY), Bought(3 * DAY, 300), Bought(50 * DAY, 1)]])
    assert (skipped[0].erased, skipped[0].older_than_window) == (1, 0)


def test_an_erasure_leaves_no_trace_of_when_the_customer_bought() -> None:
    records, _ = fold_batches([[Bought(3 * DAY, 300)], [Requested(9 * DAY)]])
    assert records["head"][0] == 0


def test_erase_touches_only_the_records_given() -> None:
    records = empty(2, SHAPE)
    records["head"], records["counts"] = 3, 1
    touched = records[:1]
    erase(touched, np.array([4]), np.array([LAYOUT.end(3)]))
    assert records["counts"].sum(axis=1).tolist() == [0, LAYOUT.tiles]
