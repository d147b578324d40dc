"""Handling of a better fit: adopted, proposed, or not searched for."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import redis
from prometheus_client import CollectorRegistry

from livesegments.consumers.modelling.generations import Generations, Refit
from livesegments.consumers.modelling.global_model import GlobalModel
from livesegments.consumers.partition_state import PartitionResult, PartitionState
from livesegments.features.record_codec import Records, empty, encode
from livesegments.features.window import window
from livesegments.model.generation import Generation
from livesegments.model.vectors import quantize
from livesegments.monitoring.metrics import Metrics
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.partitions import Commit, Partitions
from livesegments.store.refit_requests import RefitRequests
from tests.consumers.harness import LAYOUT, MEAN, RULES, SEGMENTS, SHAPE, STD
from tests.segmentations import PERSONAS, POSITIONS
from tests.servers import RedisServer

pytestmark = pytest.mark.servers

NUMBER = 5
TILE_US = LAYOUT.tile_us


def people() -> Records:
    """Customers around the five personas, with purchases in tile 3."""
    rng = np.random.default_rng(0)
    n = 400
    places = MEAN + POSITIONS[np.arange(n) % 5] * STD + rng.normal(size=(n, 5)) * STD * 0.1
    records = empty(n, SHAPE)
    records["head"] = 3
    records["counts"][:, 3] = np.expm1(places[:, 0]).round().clip(1)
    records["cents"][:, 3] = np.expm1(places[:, 1]).round().clip(1) * 100
    records["age"], records["income"] = places[:, 2], np.exp(places[:, 3])
    # Drawn at random, so that all centroids are near the average customer.
    records["cluster"], records["generation"] = rng.integers(5, size=n), NUMBER
    return records


class Deployment:
    """One partition in Redis with a poor clustering, after the first check."""

    def __init__(self, server: RedisServer, refit: Refit) -> None:
        self.store = Partitions(redis.Redis.from_url(server.url, protocol=2), RULES.group_id)
        self.metrics = Metrics(CollectorRegistry(), PERSONAS)
        fitted = Generation(
            number=NUMBER,
            centroids=MEAN + POSITIONS * STD,
            mean=MEAN,
            variance=STD**2,
            sizes=(80,) * 5,
            segments=SEGMENTS,
        )
        records = people()
        learned = PERSONAS.estimator()
        learned.learn_arrays(
            quantize(PERSONAS.vectors(records, window(records, 3, LAYOUT))), records["cluster"]
        )
        checkpoint = Checkpoint(
            version=9,
            nonce="00000000000000aa",
            clock_us=3 * TILE_US,
            generation=NUMBER,
            swept_generation=NUMBER,
            swept_tile=3,
        )
        blobs = {f"c{i}": blob for i, blob in enumerate(encode(records))}
        assert self.store.commit([Commit(0, None, checkpoint, records=blobs)]) == [True]
        self.owned = {0: PartitionState(0, checkpoint, estimators={NUMBER: learned})}
        self.model = GlobalModel(self.store, 1, PERSONAS)
        self.model.adopt(fitted)
        self.generations = Generations(
            self.store,
            1,
            RULES,
            requests=RefitRequests(self.store.redis, RULES.group_id),
            metrics=self.metrics,
            warmup_customers=5,
            refit=refit,
        )
        assert self.look() is None

    def look(self) -> PartitionResult | None:
        now = self.model.complete(self.owned)
        assert now is not None
        return self.generations.reconsider(self.owned[0], now, 0)

    def sweep_next_tile(self) -> None:
        owned = self.owned[0]
        checkpoint = Checkpoint(
            version=9,
            nonce=owned.checkpoint.nonce,
            clock_us=4 * TILE_US,
            generation=NUMBER,
            swept_generation=NUMBER,
            swept_tile=4,
        )
        self.owned = {0: PartitionState(0, checkpoint, estimators=owned.estimators)}

    def checks(self, result: str) -> float | None:
        return self.metrics.registry.get_sample_value(
            "livesegments_refit_checks_total", {"result": result}
        )

    def gain(self) -> float:
        return self.metrics.registry.get_sample_value("livesegments_refit_gain_ratio") or 0.0

    def look_until_checked(self) -> PartitionResult | None:
        for _ in range(400):
            decision = self.look()
            if decision is not None or self.checks("proposed") or self.checks("kept"):
                return decision
            time.sleep(0.05)
        raise AssertionError("no check came to an end")


def test_a_better_fit_is_taken(fresh_redis: RedisServer) -> None:
    deployment = Deployment(fresh_redis, "auto")
    assert math.isnan(deployment.gain())
    deployment.sweep_next_tile()
    decision = deployment.look_until_checked()
    assert decision is not None
    assert decision.commit is not None
    assert decision.commit.checkpoint.proposed_generation == 10
    assert deployment.checks("taken") == 1
    assert math.isnan(deployment.gain()), "it is of the generation before"


def test_a_better_fit_is_only_told_of_when_a_person_is_to_decide(fresh_redis: RedisServer) -> None:
    deployment = Deployment(fresh_redis, "propose")
    deployment.sweep_next_tile()
    assert deployment.look_until_checked() is None
    assert (deployment.checks("proposed"), deployment.checks("taken")) == (1, 0)
    assert deployment.gain() > 0.3
    deployment.generations.tend({}, deployment.model, 0)
    assert math.isnan(deployment.gain()), "another worker reports it now"


def test_when_refits_are_off_nothing_is_looked_for(fresh_redis: RedisServer) -> None:
    deployment = Deployment(fresh_redis, "off")
    deployment.sweep_next_tile()
    for _ in range(20):
        assert deployment.look() is None
        time.sleep(0.05)
    assert math.isnan(deployment.gain())


def test_definitions_of_today_do_not_overwrite_a_generation_on_its_way(
    fresh_redis: RedisServer,
) -> None:
    deployment = Deployment(fresh_redis, "off")
    owned = deployment.owned[0]
    on_its_way = replace(owned.checkpoint, version=10, proposed_generation=10)
    later = {0: replace(owned, checkpoint=on_its_way)}
    assert deployment.generations.tend(later, deployment.model, 0) is None
    assert deployment.generations.tend(deployment.owned, deployment.model, 0) is not None
