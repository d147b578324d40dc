"""The preview of a fit, of customers stored in Redis."""

from dataclasses import replace

import numpy as np
import pytest
import redis

from livesegments.features.record_codec import empty, encode
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.vectors import quantize
from livesegments.operations.refit_preview import propose
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.deployment import Deployment
from livesegments.store.partitions import Commit, Partitions
from tests.consumers.harness import LAYOUT, RULES, SEGMENTS, SHAPE, generation, model_of
from tests.servers import RedisServer

pytestmark = pytest.mark.servers

STORED, BUYERS = 9_000, 900


def test_those_who_stay_away_do_not_make_the_sample_small(fresh_redis: RedisServer) -> None:
    records = empty(STORED, SHAPE)
    records["head"] = 100
    records["counts"][:BUYERS, 100 % LAYOUT.tiles] = 1 + np.arange(BUYERS) % 20
    blobs = {f"{i}": blob for i, blob in enumerate(encode(records))}
    checkpoint = Checkpoint(version=1, nonce="aa", clock_us=100 * LAYOUT.tile_us)
    fitted = generation()
    vectors = quantize(np.repeat(fitted.centroids[:1], BUYERS, axis=0))
    counted = ClusterStatistics.of(vectors, np.zeros(BUYERS, np.int8), len(SEGMENTS))
    names = RULES.segmentation.feature_names
    deployment = Deployment(1, LAYOUT.window_days, LAYOUT.tiles, "USD", 0, tuple(SEGMENTS), names)
    with redis.Redis.from_url(fresh_redis.url, protocol=2) as client:
        store = Partitions(client, "group")
        assert store.commit([Commit(0, None, checkpoint, records=blobs)]) == [True]
        shown = propose(store, deployment, model_of(fitted, counted), RULES)
    assert shown.found["sample"] == shown.found["customers"] == BUYERS
    assert shown.moves.sum() == STORED
    first, *others = shown.segments
    long = replace(shown, segments=(replace(first, name="Those with " + "very " * 9), *others))
    *_, table = "\n".join(long.lines()).split("(columns)\n")
    assert len({len(line) for line in table.splitlines()[:-1]}) == 1
