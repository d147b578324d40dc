"""The live view of a running deployment: its totals and its rendering."""

import io
import json
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import numpy as np
import pytest
from kafka.errors import KafkaTimeoutError
from rich.cells import cell_len
from rich.console import Console

from livesegments.analysis.watch import polling_thread
from livesegments.analysis.watch.polling_thread import PollingThread
from livesegments.analysis.watch.snapshot import Snapshot
from livesegments.analysis.watch.transition_window import HOUR_S, SHOWN, TransitionWindow
from livesegments.analysis.watch.views import Frame, line, rates
from livesegments.consumers.modelling.definitions import to_definitions
from livesegments.contracts.segments import (
    Explanation,
    ModelRef,
    OtherContributions,
    PublishedConsent,
    SegmentChange,
    SegmentDefinition,
    SegmentRef,
    encode,
)
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.vectors import quantize
from livesegments.rendering.formats import DOUBT
from tests.consumers.harness import MEAN, STD, generation, model
from tests.segmentations import PERSONAS, POSITIONS
from tests.segmentations import SIZES as SEGMENTATIONS

NAMES = {persona.id: persona.name for persona in PERSONAS.segments}
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW_S = NOW.timestamp()
TWELVE = SEGMENTATIONS[-1]
SIZES = ((80, 24), (100, 30), (120, 40))


def ref(segment: str | None) -> SegmentRef | None:
    return SegmentRef(id=segment, name=NAMES[segment]) if segment else None


def change(
    customer: str,
    before: str | None = "families",
    after: str | None = "high-value-customers",
    *,
    origin: str = "live",
    seconds: float = 0,
) -> SegmentChange:
    return SegmentChange.model_validate(
        SegmentChange(
            customer_id=customer,
            change="assigned" if before is None else "reassigned" if after else "unassigned",
            previous_segment=ref(before),
            segment=ref(after),
            occurred_at=NOW,
            decided_at=NOW + timedelta(seconds=seconds),
            version=1,
            origin="live",
            cause=None,
            confidence=None,
            distance=None,
            runner_up=None,
            explanation=(
                Explanation(
                    feature="purchases",
                    direction="below",
                    z_score=-1.94,
                    previous_z_score=0.5,
                    contribution=1.0,
                ),
            ),
            other_contributions=OtherContributions(model=0.25, profile=0.0),
            model=ModelRef(generation=1, version=1),
            consent=PublishedConsent(marketing=None),
        ).model_dump()
        | {"origin": origin}
    )


def statistics() -> ClusterStatistics:
    """Fifty customers per cluster, near their fitted positions."""
    fitted = generation()
    counted = ClusterStatistics(5, 5)
    for cluster, place in enumerate(fitted.centroids):
        near = quantize(np.repeat(place[None], 50, axis=0) + 0.05)
        counted += ClusterStatistics.of(near, np.full(50, cluster), k=5)
    return counted


def definitions() -> dict[str, SegmentDefinition]:
    made = to_definitions(model(), PERSONAS)
    return {
        each["id"]: SegmentDefinition.model_validate_json(encode({**each, "version": 1}))
        for each in made
    }


def moves(*changes: SegmentChange, began_s: float = NOW_S - 60) -> TransitionWindow:
    made = TransitionWindow(began_s)
    for each in changes:
        made.add(each, each.decided_at.timestamp())
    return made


def taken(changes: list[SegmentChange], troubles: tuple[str, ...] = ()) -> Snapshot:
    return Snapshot(
        "livesegments",
        NOW + timedelta(seconds=1),
        NOW - timedelta(seconds=60),
        PERSONAS,
        moves=moves(*changes).counts(NOW_S + 1),
        definitions=definitions(),
        generation=generation(),
        statistics=statistics(),
        records=1_260,
        currency="EUR",
        recovering=0,
        workers=3,
        lag=1_234,
        troubles=troubles,
    )


BUSY = taken([change(f"customer {i}", seconds=-i / 100) for i in range(100)])
HOSTILE = taken(
    [change(name) for name in ("[red]x[/red]", "客户" * 60, "\u202eretsim", "x" * 128, "🛒")],
    (
        "Redis (LIVESEGMENTS_REDIS_URL): " + "away " * 30,
        "Kafka does not answer, since 12:00:00 UTC",
    ),
)
NOTHING = Snapshot("livesegments", NOW, NOW, PERSONAS)


def drawn(what: Snapshot, width: int, height: int) -> list[str]:
    console = Console(
        record=True, width=width, height=height, file=io.StringIO(), force_terminal=True
    )
    console.print(Frame(what))
    return console.export_text().rstrip("\n").split("\n")


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("what", [BUSY, HOSTILE, NOTHING], ids=["busy", "hostile", "nothing"])
def test_a_frame_fits_the_terminal(what: Snapshot, width: int, height: int) -> None:
    lines = drawn(what, width, height)
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_frame_fills_the_terminal_with_the_last_changes(width: int, height: int) -> None:
    lines = drawn(BUSY, width, height)
    assert len(lines) == height
    assert sum("→ High-Value Customers" in each for each in lines) == height - 19
    assert "custom" in lines[19]
    assert "bought less" in lines[19]


def test_a_frame_tells_sizes_moves_drift_lag_and_workers() -> None:
    text = "\n".join(drawn(BUSY, 80, 24))
    assert "workers 3  lag 1,234  changes 100" in text
    assert "live 1.7/s" in text
    assert "Young Professionals      50  20%" in text
    assert "no segment            1,010" in text
    assert "generation 1  shares PSI 0.00 (noise up to" in text
    [families] = [each for each in drawn(BUSY, 80, 24) if each.startswith("Families  ")][1:]
    assert families.split()[1:] == [".", ".", ".", "100", "."]


def test_what_cannot_be_seen_is_told_on_the_frame() -> None:
    text = drawn(HOSTILE, 80, 24)
    assert text[2].startswith("Redis (LIVESEGMENTS_REDIS_URL): away")
    assert "Kafka does not answer, since 12:00:00 UTC; older figures stay" in text[3]
    assert "[red]x[/red]" in "\n".join(drawn(HOSTILE, 120, 40))


@pytest.mark.parametrize("what", [BUSY, HOSTILE, NOTHING], ids=["busy", "hostile", "nothing"])
def test_a_moment_is_one_line_for_people_and_one_for_scripts(what: Snapshot) -> None:
    assert "\n" not in line(what)
    script = json.dumps(what.to_dict())
    assert "\n" not in script
    found = json.loads(script)
    assert [each["id"] for each in found["segments"]] == list(PERSONAS.segment_ids)
    assert found["troubles"] == list(what.troubles)


def test_rates_are_digits_however_high() -> None:
    assert BUSY.moves is not None
    moves = replace(BUSY.moves, per_second={"live": 1_234.5, "expiry": 99.6, "model": 0.25})
    assert rates(replace(BUSY, moves=moves)) == "live 1,234/s, expiry 100/s, model 0.25/s"


def test_the_line_for_people_has_all_figures() -> None:
    text = line(BUSY)
    assert "Families 50 (20%)" in text
    assert "100 changes, live 1.7/s" in text
    assert "lag 1,234, workers 3" in text
    assert "generation 1, shares PSI 0.00, largest shift 0." in text
    assert (
        "customer 0: Families -> High-Value Customers (bought less: purchases from +0.5 to -1.9 sd)"
        in text
    )
    assert "TROUBLE Kafka does not answer" in line(HOSTILE)


def test_without_a_store_sizes_are_those_of_the_definitions() -> None:
    found = replace(NOTHING, definitions=definitions(), generation=generation())
    assert [row.customers for row in found.segments] == [10] * 5
    assert found.records is None
    assert np.isnan(found.drift.share_psi)
    assert "no segment                -" in "\n".join(drawn(found, 80, 24))


def test_changes_count_for_an_hour_and_for_the_rate_a_minute() -> None:
    some = moves(
        change("a", seconds=-HOUR_S + 20),
        change("b", seconds=-120, origin="expiry"),
        change("c", seconds=-1),
        change("c", "high-value-customers", None, seconds=0),
    )
    move = ("families", "high-value-customers")
    now = some.counts(NOW_S)
    assert now.last_hour == {move: 3, ("high-value-customers", None): 1}
    assert now.since_start == {move: 1, ("high-value-customers", None): 1}
    assert now.per_second == {"live": pytest.approx(2 / 60)}
    assert some.counts(NOW_S + 60).last_hour[move] == 2
    assert not some.counts(NOW_S + 2 * HOUR_S).last_hour


def test_the_newest_are_told_whatever_the_order_they_are_read_in() -> None:
    some = moves(*(change(str(i), seconds=-i) for i in range(500)))
    assert [each.customer_id for each in some.counts(NOW_S).newest] == [
        str(i) for i in range(SHOWN)
    ]


def test_no_hour_is_claimed_that_was_not_read() -> None:
    some = moves()
    assert some.counts(NOW_S).since_s == NOW_S - HOUR_S
    some.known_since(NOW_S - 90)
    assert some.counts(NOW_S).since_s == NOW_S - 90
    assert some.counts(NOW_S + HOUR_S).since_s == NOW_S


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_was_seen_stays_through_an_outage_which_is_told_with_its_start() -> None:
    down = Event()
    made: list[int] = []
    closed: list[int] = []

    def poller() -> Generator[dict[str, Any]]:
        made.append(number := len(made) + 1)
        try:
            while not down.is_set():
                yield {"made": number}
            raise KafkaTimeoutError("away")
        finally:
            closed.append(number)

    some = PollingThread("Kafka", poller, 0.01, str)
    some.start()
    wait_until(lambda: some.latest == {"made": 1})
    assert some.trouble is None
    down.set()
    wait_until(lambda: some.trouble is not None)
    first = some.trouble
    assert first is not None
    assert "away" in first.why
    assert closed[0] == 1
    wait_until(lambda: len(made) > 3)
    assert some.trouble is not None
    assert (some.latest, some.trouble.since_s) == ({"made": 1}, first.since_s)
    down.clear()
    wait_until(lambda: some.trouble is None)
    wait_until(lambda: some.latest["made"] == len(made) > 1)
    some.stop()
    assert closed[-1] == made[-1]


def test_a_server_that_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling_thread, "HANGS_SECONDS", 0.05)
    free = Event()

    def poller() -> Generator[dict[str, Any]]:
        free.wait(20)
        while True:
            yield {"answered": True}

    some = PollingThread("Redis", poller, 0.01, str)
    some.start()
    wait_until(lambda: some.trouble is not None)
    assert some.trouble is not None
    assert some.trouble.why == "Redis does not answer"
    free.set()
    wait_until(lambda: some.trouble is None and bool(some.latest))
    some.stop()


def test_a_name_far_from_its_customers_is_marked_with_a_sentence() -> None:
    assert not BUSY.doubted
    far = BUSY.definitions["families"].model_copy(update={"persona_distance": 1.2})
    told = replace(BUSY, definitions={**BUSY.definitions, far.id: far})
    screen = drawn(told, 80, 24)
    assert f"{far.name}?" in "\n".join(screen)
    assert [line for line in screen if DOUBT in line]
    whole = "\n".join(screen)
    changes = whole[whole.index("Last changes") :]
    assert changes.count(f"{far.name}?") == changes.count(far.name) > 0
    assert f"{far.name}? " in line(told)


def test_many_segments_leave_no_room_for_the_moves() -> None:
    twelve = TWELVE
    told = Snapshot("livesegments", NOW, NOW, twelve)
    screen = "\n".join(drawn(told, 80, 24))
    assert all(segment.name in screen for segment in twelve.segments)
    assert "Moves" not in screen
    assert "Last changes" in screen


def test_the_notes_say_what_the_names_rest_on_and_what_does_not_hold() -> None:
    assert NOTHING.names == []
    x = MEAN + POSITIONS * STD
    x[0, :2], x[2:, 2] = MEAN[:2] - STD[:2], np.nan  # the first, young professionals, buy seldom
    statistics = ClusterStatistics.of(quantize(x), np.arange(5), k=5)
    notes = replace(BUSY, statistics=statistics).names
    assert any(
        note.startswith("Young Professionals has the nearest of 5 names") and "purchases" in note
        for note in notes
    )
    assert "Known is the age of 40%." in notes
