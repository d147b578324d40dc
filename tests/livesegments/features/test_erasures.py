import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.features.erasures import Action, Marker, marker_key
from tests.livesegments.features.events import DAY, LAYOUT, times


@given(times.filter(bool), st.sampled_from([Action.ERASE, Action.SUPPRESS]))
def test_a_request_cuts_at_the_end_of_its_tile(at: int, action: Action) -> None:
    marker = Marker().after(action, at, LAYOUT)
    assert marker.cutoff_us == LAYOUT.end(LAYOUT.tile(at))
    assert marker.suppressed == (action is Action.SUPPRESS)


@given(st.lists(times, min_size=1), st.data())
def test_erasures_add_up_in_any_order(requests: list[int], data: st.DataObject) -> None:
    def added_up(order: list[int]) -> Marker:
        marker = Marker()
        for at in order:
            marker = marker.after(Action.ERASE, at, LAYOUT)
        return marker

    assert added_up(requests) == added_up(data.draw(st.permutations(requests)))


def test_a_customer_is_suppressed_until_a_later_restore() -> None:
    suppressed = Marker().after(Action.SUPPRESS, 10 * DAY, LAYOUT)
    assert suppressed.suppressed
    assert suppressed.after(Action.RESTORE, 9 * DAY, LAYOUT).suppressed
    restored = suppressed.after(Action.RESTORE, 21 * DAY, LAYOUT)
    assert not restored.suppressed
    assert restored.cutoff_us == 24 * DAY, "events during the suppression stay ignored"
    assert restored.after(Action.SUPPRESS, 30 * DAY, LAYOUT).suppressed


@pytest.mark.parametrize("before", [Marker(), Marker(8 * DAY, 5 * DAY, 6 * DAY)])
def test_a_restore_without_a_suppression_erases_nothing(before: Marker) -> None:
    assert before.after(Action.RESTORE, 30 * DAY, LAYOUT).cutoff_us == before.cutoff_us


def test_an_erasure_during_a_suppression_does_not_end_it() -> None:
    marker = Marker().after(Action.SUPPRESS, 10 * DAY, LAYOUT).after(Action.ERASE, 20 * DAY, LAYOUT)
    assert marker.suppressed


def test_of_requests_of_one_time_the_last_holds() -> None:
    marker = Marker()
    for action, suppressed in [
        (Action.SUPPRESS, True),
        (Action.RESTORE, False),
        (Action.SUPPRESS, True),
        (Action.RESTORE, False),
    ]:
        marker = marker.after(action, 10 * DAY, LAYOUT)
        assert marker.suppressed == suppressed


@given(st.builds(Marker, times, times, times))
def test_bytes_hold_all_of_a_marker(marker: Marker) -> None:
    assert Marker.from_bytes(marker.to_bytes()) == marker
    assert Marker.from_bytes(None) == Marker()


def test_a_key_does_not_show_the_customer_and_depends_on_the_secret() -> None:
    key = marker_key("customer-1", "livesegments")
    assert len(key) == 16
    assert key != marker_key("customer-1", "another")
    assert key != marker_key("customer-2", "livesegments")
    assert marker_key("customer-1", "x" * 200) == marker_key("customer-1", "x" * 64)
