"""The inertia of a preview is that of all customers, of whom a sample is fitted."""

import numpy as np
import pytest

from livesegments.analysis.backtest.in_memory_store import InMemoryPartitions
from livesegments.features.record_codec import empty, encode
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.vectors import quantize
from livesegments.operations.refit_preview import propose
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.deployment import Deployment
from tests.consumers.harness import LAYOUT, RULES, SEGMENTS, SHAPE, generation, model_of

CUSTOMERS = 12_000


def test_the_gain_is_the_relative_reduction_of_the_inertia() -> None:
    rng = np.random.default_rng(0)
    records = empty(CUSTOMERS, SHAPE)
    records["head"] = 100
    slot = 100 % LAYOUT.tiles
    records["counts"][:, slot] = rng.integers(1, 20, CUSTOMERS)
    records["cents"][:, slot] = rng.integers(100, 90_000, CUSTOMERS)
    store = InMemoryPartitions()
    store.records = {f"{i}": blob for i, blob in enumerate(encode(records))}
    store.checkpoint = Checkpoint(version=1, nonce="aa", clock_us=100 * LAYOUT.tile_us)
    fitted = generation()
    vectors = quantize(np.repeat(fitted.centroids[:1], CUSTOMERS, axis=0))
    counted = ClusterStatistics.of(vectors, np.zeros(CUSTOMERS, np.int8), len(SEGMENTS))
    names = RULES.segmentation.feature_names
    deployment = Deployment(1, LAYOUT.window_days, LAYOUT.tiles, "USD", 0, tuple(SEGMENTS), names)
    found = propose(store, deployment, model_of(fitted, counted), RULES).found
    assert found["sample"] < found["customers"] == CUSTOMERS
    now, new = found["inertia"]["now"], found["inertia"]["new"]
    assert found["gain"] == pytest.approx(1 - new / now, abs=1e-5)
