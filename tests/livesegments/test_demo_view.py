import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from contracts.segments import (
    Centroid,
    Explanation,
    ModelRef,
    PublishedConsent,
    SegmentChange,
    SegmentRef,
)
from livesegments.demo_metrics import WorkerMetrics
from livesegments.demo_picture import SEGMENTS, SIGMA, Picture, SegmentRow, Step, reason
from livesegments.demo_plain import PlainView
from livesegments.demo_seen import Seen
from livesegments.demo_summary import Outcome, summary
from livesegments.demo_view import COLORS, Frame
from model.personas import PERSONAS

SIZES = ((80, 24), (120, 40))
NOON = datetime(2017, 5, 14, 12, tzinfo=UTC)


def ref(segment: str) -> SegmentRef:
    return SegmentRef(id=segment, name=SEGMENTS[segment])


def change(customer: str, before: str | None, after: str | None, minute: int = 0) -> SegmentChange:
    return SegmentChange(
        customer_id=customer,
        change="assigned" if before is None else "reassigned" if after else "unassigned",
        previous_segment=ref(before) if before else None,
        segment=ref(after) if after else None,
        occurred_at=NOON + timedelta(minutes=minute),
        decided_at=NOON,
        version=minute + 1,
        origin="live",
        cause=None,
        confidence=None,
        distance=None,
        runner_up=None,
        explanation=(Explanation(feature="purchases", direction="below", z_score=-1.94),),
        model=ModelRef(generation=1, version=1),
        consent=PublishedConsent(marketing=None),
    )


CENTROID = Centroid(purchases=19.31, spend=1_710.4, age=43.2, income=90_210.0, urbanicity=None)
BUSY = Picture(
    elapsed=21.4,
    steps=(Step("everything", "ready", 1.0),),
    purchases=65_120,
    total=155_848,
    rate=3_987.2,
    event_time=NOON,
    segments=tuple(
        SegmentRow(segment, name, 1_492, 0.2, CENTROID, 0.41) for segment, name in SEGMENTS.items()
    ),
    assigned=2_296,
    unassigned=173,
    changes=13_215,
    recent=[
        change(str(2_469 - n), "young-professionals", "high-value-customers") for n in range(60)
    ],
    metrics=WorkerMetrics(
        held_back=17_483,
        lag=12,
        psi=0.02,
        psi_critical=0.1,
        explained_variance=0.712,
        latency=(0.043, 0.377),
    ),
)
UNKNOWN = Picture(
    elapsed=0.2,
    steps=(Step("data"), Step("servers", "", 0.2)),
    segments=tuple(
        SegmentRow(segment, name, 0, None, None, None) for segment, name in SEGMENTS.items()
    ),
)


def drawn(picture: Picture, width: int, height: int) -> list[str]:
    console = Console(
        record=True, width=width, height=height, file=io.StringIO(), force_terminal=True
    )
    console.print(Frame(picture))
    return console.export_text().rstrip("\n").split("\n")


def printed(*pictures: Picture) -> str:
    out = io.StringIO()
    with PlainView(Console(file=out, color_system=None, force_terminal=False, width=80)) as view:
        for picture in pictures:
            view.show(picture)
    return out.getvalue()


def line(lines: list[str], start: str) -> str:
    return next(each for each in lines if each.startswith(start))


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("picture", [BUSY, UNKNOWN], ids=["busy", "unknown"])
def test_a_frame_fits_the_terminal(picture: Picture, width: int, height: int) -> None:
    lines = drawn(picture, width, height)

    assert len(lines) <= height
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_frame_fills_the_terminal_with_the_last_changes(width: int, height: int) -> None:
    lines = drawn(BUSY, width, height)

    assert len(lines) == height
    assert sum("→ High-Value Customers" in each for each in lines) == height - 14


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_frame_shows_progress_segments_drift_and_reasons(width: int, height: int) -> None:
    lines = drawn(BUSY, width, height)
    text = "\n".join(lines)

    assert "65,120 of 155,848 purchases  3,987/s" in line(lines, "14 May 2017")
    assert "2,296 households in a segment  13,215 changes  lag 12" in text
    assert "median 43 ms" in text
    assert "p99 377 ms" in text
    cells = line(lines, "High-Value Customers").split()
    assert cells[2:4] == ["1,492", "20%"]
    assert cells[-6:] == ["19.3", "$1,710", "43", "$90k", "-", "0.41"]
    assert "no segment" in line(lines, "no segment  ")
    assert "PSI 0.02 (noise up to 0.10)  explained variance 71%  17,483" in text
    assert f"bought: purchases -1.9{SIGMA}" in text


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_frame_before_the_first_change_shows_steps_and_dashes(width: int, height: int) -> None:
    lines = drawn(UNKNOWN, width, height)
    text = "\n".join(lines)

    assert line(lines, "Retirees").split() == ["Retirees", "0", *"-------"]
    assert "… data" in text
    assert "✓ servers" in text
    assert "nan" not in text.lower()
    assert "None" not in text


def test_names_and_colors_are_those_of_the_personas() -> None:
    assert {persona.id: persona.name for persona in PERSONAS} == SEGMENTS
    assert COLORS.keys() == SEGMENTS.keys()
    assert len(set(COLORS.values())) == len(COLORS)


def test_plain_lines_tell_the_same_without_control_codes() -> None:
    text = printed(BUSY)

    assert text.isascii()
    assert "\x1b" not in text
    assert "65,120 of 155,848 purchases, 3,987/s, lag 12" in text
    assert "13,215 changes, median 43 ms, p99 377 ms" in text
    assert "Retirees 1492 (20%), no segment 173" in text
    assert "PSI 0.02, explained variance 71%, 17,483 switches held back" in text
    assert text.rstrip().endswith(
        "household 2469: Young Professionals -> High-Value Customers (bought: purchases -1.9 sd)"
    )


def test_plain_lines_come_at_intervals_and_steps_once() -> None:
    later = [
        Picture(elapsed=UNKNOWN.elapsed + tenths / 10, steps=UNKNOWN.steps, purchases=7)
        for tenths in range(50)
    ]

    lines = printed(UNKNOWN, *later).splitlines()

    assert sum("data ..." in each for each in lines) == 1
    assert sum("servers: done in 0.2 s" in each for each in lines) == 1
    assert sum("7 purchases" in each for each in lines) == 3


def test_a_reason_without_explanation_says_what_set_the_change_off() -> None:
    left = change("1", "students", None)

    assert reason(left) == "bought: no purchase left"
    assert (
        reason(left.model_copy(update={"segment": ref("families"), "explanation": ()})) == "bought"
    )


def outcome(sent: int, seen: Seen) -> Outcome:
    return Outcome(BUSY, sent=sent, first_change=8.2, streamed=40.0, checks=seen.checks())


def summarized(of: Outcome, seen: Seen, width: int = 80) -> str:
    console = Console(record=True, width=width, file=io.StringIO())
    for part in summary(of, seen):
        console.print(part, highlight=False)
    return console.export_text()


def test_the_summary_fits_80_columns_and_says_how_to_go_on() -> None:
    seen = Seen()
    text = summarized(outcome(0, seen), seen)

    assert max(map(len, text.splitlines())) <= 80
    assert "First change 8.2 s after the start" in text
    assert "livesegments subscribe" in text


def test_the_summary_tells_events_that_were_not_folded() -> None:
    seen = Seen()
    lost = outcome(1_000, seen)

    assert not lost.good
    assert "FAILED  1,000 events were sent, 0 folded" in summarized(lost, seen)
