"""The sum over partitions, read from Redis."""

from collections.abc import Iterator

import numpy as np
import pytest
import redis

from livesegments.consumers.modelling.global_model import GlobalModel
from livesegments.consumers.partition_state import PartitionState
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.kmeans import MiniBatchKMeans
from livesegments.model.vectors import quantize
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.partitions import Commit, Partitions
from tests.consumers.harness import MEAN, SEGMENTS, generation, model_of
from tests.segmentations import PERSONAS
from tests.servers import RedisServer

pytestmark = pytest.mark.servers


@pytest.fixture
def store(fresh_redis: RedisServer) -> Iterator[Partitions]:
    with redis.Redis.from_url(fresh_redis.url, protocol=2) as client:
        yield Partitions(client, "group")


def learned(members: int, cluster: int = 0) -> MiniBatchKMeans:
    """The estimator of a partition of average customers, all in one cluster."""
    part = PERSONAS.estimator()
    part.learn_arrays(quantize(np.tile(MEAN, (members, 1))), np.full(members, cluster))
    return part


def total(model: GlobalModel, owned: dict[int, PartitionState]) -> ClusterStatistics | None:
    """The customers of all partitions."""
    complete = model.complete(owned)
    return None if complete is None else complete.statistics


def checkpoint(number: int, swept: int, version: int = 1) -> Checkpoint:
    return Checkpoint(version=version, nonce="aa", generation=number, swept_generation=swept)


def commit(
    store: Partitions, partition: int, after: Checkpoint, estimators: dict[int, MiniBatchKMeans]
) -> None:
    before = store.load(partition).checkpoint
    blobs = {number: each.statistics.to_bytes() for number, each in estimators.items()}
    assert store.commit([Commit(partition, before, after, statistics=blobs)]) == [True]


def test_there_is_no_model_before_a_generation(store: Partitions) -> None:
    model = GlobalModel(store, 2, PERSONAS)
    model.adopt(None)
    model.refresh({}, 0.0)
    assert model.model({}) is None
    assert total(model, {}) is None


def test_the_model_is_the_sum_of_own_and_others_statistics(store: Partitions) -> None:
    model = GlobalModel(store, 3, PERSONAS)
    model.adopt(generation(1, turn=2))
    own = PartitionState(0, checkpoint(1, 1), {1: learned(2)})
    commit(store, 1, checkpoint(1, 1), {1: learned(3, cluster=4)})
    commit(store, 2, checkpoint(1, 1), {})
    model.refresh({0: own}, 0.0)
    found = total(model, {0: own})
    assert found == (learned(2) + learned(3, cluster=4)).statistics
    now = model.model({0: own})
    assert now is not None
    assert (
        now.snapshot.centroids == model_of(generation(1, turn=2), found).snapshot.centroids
    ).all()
    assert [SEGMENTS[i] for i in now.segment_of_cluster] == list(generation(1, turn=2).segments)
    assert own.estimators[1].statistics == learned(2).statistics, "summing leaves the parts alone"


@pytest.mark.parametrize("late", [(1, 0), (2, 1), (2, 2), (0, 0)])
def test_until_all_partitions_are_in_the_generation_the_fit_serves(
    store: Partitions, late: tuple[int, int]
) -> None:
    model = GlobalModel(store, 2, PERSONAS)
    model.adopt(generation(1))
    own = PartitionState(0, checkpoint(1, 1), {1: learned(2)})
    commit(store, 1, checkpoint(*late), {1: learned(3)})
    model.refresh({0: own}, 0.0)
    assert total(model, {0: own}) is None
    now = model.model({0: own})
    assert now is not None
    assert (now.snapshot.centroids == model_of(generation(1)).snapshot.centroids).all()


def test_own_customers_that_are_not_all_in_the_generation_do_not_count(store: Partitions) -> None:
    model = GlobalModel(store, 1, PERSONAS)
    model.adopt(generation(2))
    assert (
        total(model, {0: PartitionState(0, checkpoint(2, 1), {1: learned(1), 2: learned(1)})})
        is None
    )
    assert (
        total(model, {0: PartitionState(0, checkpoint(2, 2), {2: learned(1)})})
        == learned(1).statistics
    )
    assert total(model, {0: PartitionState(0, checkpoint(2, 2))}) == ClusterStatistics(5, 5)


def test_what_others_have_is_read_again_after_a_while_and_after_a_new_generation(
    store: Partitions,
) -> None:
    model = GlobalModel(store, 1, PERSONAS, refresh_seconds=1.0)
    model.adopt(generation(1))
    commit(store, 0, checkpoint(1, 1), {1: learned(1)})
    model.refresh({}, 10.0)
    commit(store, 0, checkpoint(1, 1, version=2), {1: learned(5)})
    model.refresh({}, 10.9)
    assert total(model, {}) == learned(1).statistics
    model.refresh({}, 11.0)
    assert total(model, {}) == learned(5).statistics
    model.adopt(generation(2))
    assert total(model, {}) is None
    commit(store, 0, checkpoint(2, 2, version=3), {2: learned(4)})
    model.refresh({}, 11.1)
    assert total(model, {}) == learned(4).statistics


def test_a_partition_that_is_given_up_is_missing_until_it_is_read(store: Partitions) -> None:
    model = GlobalModel(store, 1, PERSONAS)
    model.adopt(generation(1))
    own = {0: PartitionState(0, checkpoint(1, 1), {1: learned(2)})}
    model.refresh(own, 0.0)
    assert total(model, own) == learned(2).statistics
    assert total(model, {}) is None


def test_an_older_generation_is_never_gone_back_to(store: Partitions) -> None:
    model = GlobalModel(store, 1, PERSONAS)
    for number in (3, 2, 3):
        model.adopt(generation(number))
    assert model.generation == generation(3)


def test_a_partition_that_is_given_up_is_read_at_the_next_refresh(store: Partitions) -> None:
    model = GlobalModel(store, 2, PERSONAS, refresh_seconds=1.0)
    model.adopt(generation(1))
    for partition in (0, 1):
        commit(store, partition, checkpoint(1, 1), {1: learned(2)})
    own = {p: PartitionState(p, checkpoint(1, 1), {1: learned(2)}) for p in (0, 1)}
    model.refresh(own, 10.0)
    model.refresh({0: own[0]}, 10.1)
    assert total(model, {0: own[0]}) == learned(4).statistics


def test_while_a_partition_is_made_anew_its_customers_count_as_before(store: Partitions) -> None:
    model = GlobalModel(store, 2, PERSONAS)
    model.adopt(generation(1))
    own = {0: PartitionState(0, checkpoint(1, 1), {1: learned(2)})}
    commit(store, 1, checkpoint(1, 1), {1: learned(3, cluster=4)})
    model.refresh(own, 0.0)
    before = model.model(own)
    commit(store, 1, checkpoint(1, 0, version=2), {})
    model.refresh(own, 5.0)
    assert total(model, own) is None
    meanwhile = model.model(own)
    assert before is not None
    assert meanwhile is not None
    assert (meanwhile.snapshot.centroids == before.snapshot.centroids).all()
    model.adopt(generation(2))
    after = model.model(own)
    assert after is not None
    assert (after.snapshot.centroids == model_of(generation(2)).snapshot.centroids).all()
