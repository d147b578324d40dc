from collections.abc import Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from kafka import TopicPartition

from contracts.segments import SegmentChange, SegmentState, encode
from contracts.topics import CHANGES, DEAD_LETTERS, STATES
from livesegments.demo_seen import Seen
from tests.livesegments.test_demo_view import change

VALUED, YOUNG, OLD = "high-value-customers", "young-professionals", "retirees"


def state(of: SegmentChange) -> SegmentState:
    return SegmentState(
        customer_id=of.customer_id,
        segment=of.segment,
        since=of.occurred_at,
        version=of.version,
        consent=of.consent,
        model=of.model,
    )


def record(key: str, value: bytes | None) -> Any:
    return SimpleNamespace(key=key.encode(), value=value)


def read(seen: Seen, changes: Sequence[SegmentChange], states: Sequence[SegmentState]) -> None:
    seen.take(
        {
            TopicPartition(CHANGES, 0): [record(c.customer_id, encode(c)) for c in changes],
            TopicPartition(STATES, 0): [record(s.customer_id, encode(s)) for s in states],
        }
    )


def test_a_chain_of_changes_and_its_states_hold() -> None:
    changes = [change("a", None, YOUNG), change("a", YOUNG, VALUED, 1), change("b", None, OLD, 1)]
    seen = Seen()
    read(seen, changes, [state(each) for each in changes])

    assert seen.checks().hold
    assert seen.checks().customers == 2
    assert (seen.sizes[VALUED], seen.sizes[OLD], seen.sizes[YOUNG]) == (1, 1, 0)


def test_a_gap_and_a_repeat_break_the_chain() -> None:
    first, last = change("a", None, YOUNG), change("a", VALUED, OLD, 2)
    gap, repeat = Seen(), Seen()
    read(gap, [first, last], [state(last)])
    read(repeat, [first, first], [state(first)])

    assert gap.checks().broken_chains == 1
    assert repeat.checks().broken_chains == 1


def test_a_state_that_is_behind_missing_or_too_much_disagrees() -> None:
    changes = [change("a", None, YOUNG), change("a", YOUNG, VALUED, 1), change("b", None, OLD)]
    seen = Seen()
    read(seen, changes, [state(changes[0]), state(change("c", None, OLD))])

    assert seen.checks().broken_chains == 0
    assert seen.checks().disagreeing == 3


def test_a_dead_letter_fails_the_checks() -> None:
    seen = Seen()
    seen.take({TopicPartition(DEAD_LETTERS, 0): [record("a", b"{")]})

    assert seen.checks().dead_letters == 1
    assert not seen.checks().hold


def test_who_left_lately_does_not_include_who_came_back_or_left_long_ago() -> None:
    days = 24 * 60
    changes = [
        change("early", VALUED, OLD),
        change("back", VALUED, OLD, 40 * days),
        change("back", OLD, VALUED, 41 * days),
        change("gone", VALUED, YOUNG, 42 * days),
        change("gone", YOUNG, None, 43 * days),
        change("left", VALUED, YOUNG, 44 * days),
    ]
    seen = Seen()
    read(seen, changes, [])

    assert [each.customer_id for each in seen.left(VALUED, timedelta(days=30))] == ["left"]
