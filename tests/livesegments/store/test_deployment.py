"""Settings that all workers of a group agree on."""

from dataclasses import replace

import pytest

from livesegments.store.cluster_pipeline import Client
from livesegments.store.deployment import Deployment, StoreMismatchError
from livesegments.store.keys import deployment_key
from livesegments.store.partitions import (
    Partitions,
)

pytestmark = pytest.mark.servers

DEPLOYMENT = Deployment(
    partitions=4,
    window_days=90,
    tiles=30,
    currency="USD",
    dedup_events=0,
    segments=("a", "b"),
    features=("purchases", "spend", "age", "income", "urbanicity"),
)


def test_workers_agree_on_what_the_first_one_wrote(store: Partitions) -> None:
    assert store.deployment() is None
    store.agree(DEPLOYMENT)
    store.agree(DEPLOYMENT)
    assert store.deployment() == DEPLOYMENT


@pytest.mark.parametrize(
    ("name", "here", "there"),
    [
        ("partitions", 8, 4),
        ("window_days", 30, 90),
        ("tiles", 10, 30),
        ("currency", "EUR", "USD"),
        ("consent", "required", "optional"),
        ("partitioner", "crc32", "murmur2"),
        ("clock", "event", "wall"),
    ],
)
def test_a_worker_that_disagrees_is_told_on_what(
    store: Partitions, name: str, here: int | str, there: int | str
) -> None:
    store.agree(DEPLOYMENT)
    differs = replace(DEPLOYMENT, **{name: here})  # type: ignore[arg-type]
    with pytest.raises(
        StoreMismatchError, match=f"{name} is {here} here and {there} in the store of group 'group'"
    ):
        store.agree(differs)
    assert store.deployment() == DEPLOYMENT


def test_a_store_of_an_older_release_has_optional_consents(
    store: Partitions, client: Client
) -> None:
    store.agree(DEPLOYMENT)
    client.hdel(deployment_key(store.group_id), "consent")
    with pytest.raises(StoreMismatchError, match="consent is required here and optional in the"):
        store.agree(replace(DEPLOYMENT, consent="required"))
    store.agree(DEPLOYMENT)
    assert store.deployment() == DEPLOYMENT


@pytest.mark.parametrize("events", [0, 7])
def test_a_store_of_an_earlier_version_is_refused_until_it_is_rebuilt(
    store: Partitions, client: Client, events: int
) -> None:
    deployment = replace(DEPLOYMENT, dedup_events=events)
    store.forget(deployment)
    with pytest.raises(StoreMismatchError, match=r"record_format is 2 here.*livesegments rebuild"):
        deployment.check({b"dedup_format": b"2", b"record_format": b"1"}, store.group_id)
    client.hdel(deployment_key(store.group_id), "partitioner", "dedup_format", "topic_prefix")
    for _ in range(2):
        with pytest.raises(StoreMismatchError, match="livesegments rebuild"):
            store.agree(deployment)
    with pytest.raises(StoreMismatchError, match="topic_prefix"):
        store.agree(replace(deployment, topic_prefix="shop."))
    assert store.deployment() != deployment
    store.forget(deployment)
    assert store.deployment() == deployment


def test_partitions_added_to_the_topics_of_a_running_worker_are_refused() -> None:
    DEPLOYMENT.check_assigned([0, DEPLOYMENT.partitions - 1])
    DEPLOYMENT.check_assigned([])
    with pytest.raises(StoreMismatchError, match="Customers are in other partitions now"):
        DEPLOYMENT.check_assigned([DEPLOYMENT.partitions])


def test_segments_are_agreed_on_in_their_order(store: Partitions) -> None:
    store.agree(DEPLOYMENT)
    with pytest.raises(StoreMismatchError, match=r"segments is b,a here and a,b.*SEGMENTATION"):
        store.agree(replace(DEPLOYMENT, segments=("b", "a")))


def test_features_are_agreed_on_and_those_of_earlier_stores_are_known(store: Partitions) -> None:
    store.agree(DEPLOYMENT)
    others = replace(DEPLOYMENT, features=("spend", "recency"))
    told = (
        r"features is spend,recency here and purchases,spend,.*SEGMENTATION.*livesegments rebuild"
    )
    with pytest.raises(StoreMismatchError, match=told):
        store.agree(others)
    store.redis.hdel(deployment_key(store.group_id), "features")
    with pytest.raises(StoreMismatchError, match=told):
        store.agree(others)
    store.agree(DEPLOYMENT)
    assert store.deployment() == DEPLOYMENT
