"""The first fit, from customers stored in Redis."""

from collections.abc import Iterator

import numpy as np
import pytest
import redis

from livesegments.analysis.backtest.variants import unnamed
from livesegments.consumers.modelling import initial_fit
from livesegments.consumers.modelling.initial_fit import (
    LEAST_ROWS,
    SAMPLE,
    Draws,
    Sample,
    draw,
    first_generation,
    sample_size,
)
from livesegments.features.record_codec import Records, empty, encode
from livesegments.features.window import is_full, purchases_by_tile
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.partitions import Commit, Partitions
from tests.consumers.harness import LAYOUT, MEAN, RULES, SEGMENTS, SHAPE, STD
from tests.segmentations import PERSONAS, POSITIONS
from tests.servers import RedisServer


@pytest.fixture
def store(fresh_redis: RedisServer) -> Iterator[Partitions]:
    with redis.Redis.from_url(fresh_redis.url, protocol=2) as client:
        yield Partitions(client, "group")


def bought(n: int, tile: int = 100) -> Records:
    records = empty(n, SHAPE)
    records["head"] = tile
    records["counts"][:, tile % LAYOUT.tiles] = 1
    records["age"] = np.linspace(18, 90, n)
    return records


def commit(store: Partitions, partition: int, records: Records, clock_tile: int = 100) -> None:
    blobs = {f"{partition}-{i}": blob for i, blob in enumerate(encode(records))}
    checkpoint = Checkpoint(version=1, nonce="aa", clock_us=clock_tile * LAYOUT.tile_us)
    assert store.commit([Commit(partition, None, checkpoint, records=blobs)]) == [True]


@pytest.mark.servers
def test_of_no_customers_nobody_is_drawn(store: Partitions) -> None:
    assert draw(store, 4, RULES).customers == 0
    commit(store, 1, empty(3, SHAPE))
    sample = draw(store, 4, RULES)
    assert (sample.customers, sample.vectors.shape) == (0, (0, 5))


@pytest.mark.servers
def test_only_who_bought_in_the_window_and_may_be_profiled_is_drawn(store: Partitions) -> None:
    records = bought(10)
    records["profiling"][:2] = 0
    records["suppressed"][2:4] = True
    records["counts"][4:6] = 0
    commit(store, 0, records)
    commit(store, 2, bought(3), clock_tile=100 + LAYOUT.tiles)
    commit(store, 3, bought(2))
    sample = draw(store, 4, RULES)
    assert sample.customers == 4 + 2
    assert sample.vectors.shape == (6, 5)
    assert (sample.vectors[:, 0] == np.log1p(1)).all()


@pytest.mark.parametrize(("k", "customers"), [(2, SAMPLE), (5, SAMPLE), (12, 7_200)])
def test_more_segments_need_more_customers(k: int, customers: int) -> None:
    assert sample_size(unnamed(PERSONAS, str(k))) == customers


@pytest.mark.servers
def test_partitions_are_drawn_from_by_their_size(store: Partitions) -> None:
    young, old = bought(4_000), bought(2_000)
    young["age"], old["age"] = 20, 60
    commit(store, 0, young)
    commit(store, 1, old)
    sample = draw(store, 2, RULES)
    assert sample.customers == 6_000
    assert len(sample.vectors) == SAMPLE
    assert (sample.vectors[:, 2] == 20).sum() == 2 * SAMPLE // 3


@pytest.mark.servers
def test_those_who_stay_away_do_not_make_the_sample_small(
    store: Partitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = bought(9_000)
    records["counts"][3_000:] = 0
    commit(store, 0, records)
    blind, knowing = draw(store, 1, RULES), draw(store, 1, RULES, buyers=3_000)
    assert 800 < len(blind.vectors) < 1_200
    assert len(knowing.vectors) == knowing.customers == 3_000
    # Even when they are rare, not every customer is sampled.
    monkeypatch.setattr(initial_fit, "MOST_DRAWN", 6_000)
    rare = draw(store, 1, RULES, buyers=1)
    assert 1_800 < len(rare.vectors) < 2_200


def test_clusters_are_named_after_the_personas_they_are_nearest_to() -> None:
    rng = np.random.default_rng(1)
    middles = MEAN + POSITIONS[[3, 1, 4, 2, 0]] * STD
    x = np.concatenate([middle + 0.05 * STD * rng.normal(size=(60, 5)) for middle in middles])
    generation = first_generation(Sample(x, 300), 12, PERSONAS)
    assert generation.number == 12
    assert sorted(generation.segments) == sorted(SEGMENTS)
    assert generation.sizes == (60,) * 5
    for centroid, segment in zip(generation.centroids, generation.segments, strict=True):
        own = MEAN + POSITIONS[SEGMENTS.index(segment)] * STD
        assert np.abs((centroid - own) / STD).max() < 0.1


def test_a_fit_is_the_same_every_time() -> None:
    x = np.random.default_rng(2).normal(size=(200, 5))
    assert first_generation(Sample(x, 200), 3, PERSONAS) == first_generation(
        Sample(x, 200), 3, PERSONAS
    )


def test_customers_who_are_all_the_same_cannot_be_fitted() -> None:
    with pytest.raises(ValueError, match=r"."):
        first_generation(Sample(np.ones((100, 5)), 100), 1, PERSONAS)


@pytest.mark.servers
def test_one_stray_old_purchase_does_not_fill_the_windows(store: Partitions) -> None:
    newest = 100 + LAYOUT.tiles - 1
    commit(store, 0, bought(40, tile=newest), clock_tile=newest)
    assert not draw(store, 2, RULES).full
    commit(store, 1, bought(1, tile=100), clock_tile=newest)
    assert not draw(store, 2, RULES).full


@pytest.mark.servers
def test_windows_are_full_once_all_their_tiles_have_purchases(store: Partitions) -> None:
    newest = 100 + LAYOUT.tiles - 1
    everyone = np.concatenate([bought(10, tile=tile) for tile in range(100, newest + 1)])
    commit(store, 0, everyone[10:], clock_tile=newest)
    assert not draw(store, 2, RULES).full
    commit(store, 1, everyone[:10], clock_tile=newest)
    assert draw(store, 2, RULES).full


@pytest.mark.parametrize("tile", range(95, 105))
def test_purchases_are_counted_in_their_tile_of_the_window(tile: int) -> None:
    clock = 100 + LAYOUT.tiles - 1
    found = purchases_by_tile(bought(3, tile), clock)
    wanted = np.zeros(LAYOUT.tiles, np.int64)
    if tile >= 100:
        wanted[tile - 100] = 3 * bought(1, tile)["counts"].sum()
    assert found.tolist() == wanted.tolist()


def test_purchases_newer_than_the_clock_are_in_no_tile_of_the_window() -> None:
    clock = 100 + LAYOUT.tiles - 1
    assert not purchases_by_tile(bought(3, clock + 1), clock).any()


@pytest.mark.parametrize(
    ("purchases", "full"),
    [
        ([0] * 10, False),
        ([1, 0, 0, 0, 0, 0, 0, 0, 0, 500], False),
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 500], False),
        ([0, 9, 9, 9, 9, 9, 9, 9, 9, 9], False),
        ([9, 9, 0, 0, 9, 9, 9, 9, 9, 9], True),
        ([1, 2, 3, 4, 6, 9, 14, 21, 32, 50], True),
        ([1] * 10, True),
    ],
)
def test_windows_are_full_when_most_tiles_have_their_share(
    purchases: list[int], full: bool
) -> None:
    assert is_full(np.array(purchases)) == full


@pytest.mark.servers
@pytest.mark.parametrize(("buyers", "enough"), [(60, True), (40, False)])
def test_among_many_profiles_the_few_buyers_are_looked_for(
    store: Partitions, buyers: int, enough: bool
) -> None:
    commit(store, 0, bought(buyers))
    commit(store, 1, empty(20_000, SHAPE))
    draws = Draws(50)
    for _ in range(20):
        sample = draws.draw(store, 2, RULES)
        assert draws.are_enough(sample) == enough
        assert sample.customers == buyers


@pytest.mark.servers
def test_small_draws_add_up(store: Partitions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initial_fit, "MOST_DRAWN", 400)
    monkeypatch.setattr(initial_fit, "SAMPLE", 40)
    monkeypatch.setattr(initial_fit, "SAMPLE_PER_SEGMENT", 8)
    commit(store, 0, bought(300))
    commit(store, 1, empty(9_700, SHAPE))
    draws = Draws(200)
    found = [draws.draw(store, 2, RULES) for _ in range(20)]
    assert not draws.are_enough(found[0])
    assert len(found[-1].vectors) >= LEAST_ROWS
    assert found[-1].customers == pytest.approx(300, rel=0.5)
    assert draws.are_enough(found[-1])
