"""Decisions over a history equal a worker's and are consistent after every micro-batch."""

import numpy as np
import pytest

from livesegments.analysis.backtest.simulator import Simulator
from livesegments.features.record_codec import Records
from livesegments.features.window import window
from tests.consumers.harness import recounted
from tests.livesegments.analysis.backtest.shop import events, feed, history, rows

STREAM = events(rows())


@pytest.fixture(scope="module")
def ended() -> Simulator:
    found = history()
    feed(found, STREAM)
    return found


def bought(found: Simulator) -> dict[str, tuple[int, int]]:
    records = found.all()
    layout = found.config.layout
    at = window(records, layout.tile(found.clock_us), layout)
    cells = zip(at.purchases.tolist(), at.cents.tolist(), strict=True)
    return dict(zip(found.records, cells, strict=True))


def counted(records: Records) -> int:
    return int(np.count_nonzero(records["cluster"] >= 0))


def test_nobody_has_a_segment_before_the_warm_up_is_over() -> None:
    found = history(warmup_customers=60)
    steps = feed(found, STREAM[:400])
    assert not found.generations
    assert not any(step.changed for step in steps)
    assert (found.all()["segment"] == -1).all()
    steps = feed(found, STREAM[400:])
    assert len(found.generations[0].generation.segments) == 5
    assert found.generations[0].customers == 60


def test_the_statistics_are_a_recount_of_the_records(ended: Simulator) -> None:
    number = ended.model.number
    assert ended.state.estimators[number].statistics == recounted(ended.all())[number]


def test_everyone_with_a_purchase_in_the_window_is_in_a_segment(ended: Simulator) -> None:
    now = ended.population()
    assert len(now.segment) == sum(purchases > 0 for purchases, _ in bought(ended).values())
    assert (now.segment >= 0).all()


def test_a_step_says_whose_each_change_is(ended: Simulator) -> None:
    found = history()
    segment_of: dict[str, str] = {}
    for step in feed(found, STREAM):
        for name, (before, after, _) in zip(step.changed, step.tally.changes, strict=True):
            assert segment_of.get(name, "none") == before
            segment_of[name] = after
    ids = (*found.config.segment_ids, "none")
    records = found.all()["segment"].tolist()
    held = {name: ids[i] for name, i in zip(found.records, records, strict=True)}
    assert held == {name: segment_of[name] for name in held}


def test_windows_do_not_depend_on_how_the_history_is_cut(ended: Simulator) -> None:
    other = history()
    feed(other, STREAM, size=7)
    assert bought(other) == bought(ended)


def test_the_same_history_comes_to_the_same_end(ended: Simulator) -> None:
    again = history()
    feed(again, STREAM)
    assert again.records == ended.records
    assert [each.generation for each in again.generations] == [
        each.generation for each in ended.generations
    ]


def test_a_sweep_of_many_stretches_comes_to_the_same_as_one_of_all(
    ended: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livesegments.analysis.backtest.simulator.SWEEP_CUSTOMERS", 1)
    stretched = history(refit="off")
    feed(stretched, STREAM)
    monkeypatch.undo()
    whole = history(refit="off")
    feed(whole, STREAM)
    assert bought(stretched) == bought(whole)
    assert counted(stretched.all()) == counted(whole.all())


def test_without_refits_there_is_one_generation() -> None:
    found = history(refit="off")
    feed(found, STREAM)
    assert len(found.generations) == 1
    assert found.generations[0].gain is None


def test_a_refit_that_saves_enough_becomes_the_next_generation() -> None:
    found = history(warmup_customers=10, refit_gain=0.001)
    feed(found, STREAM)
    first, *others = found.generations
    assert others
    assert first.gain is None
    assert all(each.gain is not None for each in others)
    numbers = [each.generation.number for each in found.generations]
    assert numbers == sorted(set(numbers))
    assert found.state.checkpoint.swept_generation == numbers[-1]


def test_a_purchase_that_comes_again_counts_once() -> None:
    once, twice = history(dedup_events=1_000), history(dedup_events=1_000)
    feed(once, STREAM[:300])
    feed(twice, [event for event in STREAM[:300] for _ in range(2)])
    assert bought(once) == bought(twice)
