"""Drift injected into real purchases: injected drift is found, and none is reported without it."""

from collections.abc import Sequence

import pytest

from bench import drift
from bench.drift import CONDITIONS, DRIFTS, NAMES, Event, Watch, delays, threshold
from bench.history import History, journey
from livesegments.features.window import Tiling

pytestmark = pytest.mark.timeout(600)

BATCH, QUIET, REST = drift.BATCH, 3_000, 4_500


@pytest.fixture(scope="module")
def stream() -> list[Event]:
    return journey(26_000)[:26_000]


@pytest.fixture(scope="module")
def settled(stream: Sequence[Event]) -> tuple[Watch, Sequence[Event], set[str]]:
    """Purchases monitored with a one-month window.

    Returns the state some time after the window has filled, the remaining events, and the
    detections so far.
    """
    watch, found = Watch(History(layout=Tiling(30, 10))), set()
    end = len(stream) - REST
    for start in range(0, end, BATCH):
        found |= watch.feed(stream[start : start + BATCH])
    assert watch.settled
    # A fit taken by a check makes the drift its baseline; whether one runs in time is chance.
    watch.history.refit_gain = None
    return watch, stream[end:], found


def test_quiet_months_raise_no_alarm_even_while_windows_fill(
    settled: tuple[Watch, Sequence[Event], set[str]],
) -> None:
    watch, rest, before = settled
    assert before == set()
    assert delays(watch.fork(), lambda events, _: events, rest, QUIET) == {}


@pytest.mark.parametrize(
    ("name", "by", "within"),
    [
        ("amounts in cents", {"FeatureDrift", "CentroidShift"}, 1_500),
        ("incomes a month", {"FeatureDrift", "CentroidShift", "reassigned adwin"}, 1_000),
        ("families spend five times as much", {"CentroidShift"}, 4_000),
        ("bots, a fifth of purchases", {"FeatureDrift"}, 4_000),
    ],
)
def test_a_drift_is_found(
    name: str, by: set[str], within: int, settled: tuple[Watch, Sequence[Event], set[str]]
) -> None:
    watch, rest, _ = settled
    assert by <= set(delays(watch.fork(), DRIFTS[name], rest, within))


def test_thresholds_are_those_of_the_alerts() -> None:
    assert threshold("CentroidShift", r"stddevs\) > ([\d.]+)") == 0.3
    with pytest.raises(ValueError, match="CentroidShift has no"):
        threshold("CentroidShift", r"psi\) > ([\d.]+)")
    assert set(CONDITIONS) < set(NAMES)
