"""Invariants of any sequence of micro-batches, whatever the input and its boundaries."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.contracts.topics import INPUTS, PURCHASES
from livesegments.features.record_codec import decode, may_be_profiled
from livesegments.features.window import window
from livesegments.model.vectors import quantize
from tests.consumers.harness import (
    DAY,
    LAYOUT,
    RULES,
    SHAPE,
    World,
    erasure,
    model,
    profile,
    purchase,
    switching,
)

PARTITIONS = (0, 1)
CUSTOMERS = ("a", "b", "c", "d", "e")
Sent = dict[str, Any] | tuple[str, bytes | None, bytes | None]

customers = st.sampled_from(CUSTOMERS)
days = st.floats(1, 60).map(lambda day: round(day, 3))
events: st.SearchStrategy[Sent] = st.one_of(
    st.builds(purchase, customers, days, st.sampled_from([1.0, 20.0, 400.0, -30.0])),
    st.builds(purchase, customers, days, st.sampled_from([1.0, 20.0, 400.0, -30.0])),
    st.builds(
        profile,
        customers,
        days,
        age=st.sampled_from([19, 40, 75]),
        income=st.sampled_from([15_000, 60_000, 150_000]),
        location=st.sampled_from(["urban", "rural"]),
        consent=st.fixed_dictionaries({}, optional={"profiling": st.booleans()}),
    ),
    st.builds(erasure, customers, days, st.sampled_from(["erase", "erase", "suppress", "restore"])),
    st.just((PURCHASES, b"a", b"not json")),
)


def partition_of(event: Sent) -> int:
    return CUSTOMERS.index(event["customer_id"]) % 2 if isinstance(event, dict) else 0


def logged(world: World, sent: list[Sent]) -> list[ConsumerRecord]:
    """The records of events, in the order of each topic."""
    return [world.record(event, partition_of(event)) for event in sent]


def shuffled_topics(records: list[ConsumerRecord], data: st.DataObject) -> list[ConsumerRecord]:
    """Another interleaving of the topics, each in its own order."""
    left = {topic: [r for r in records if r.topic == topic] for topic in INPUTS}
    order = data.draw(st.permutations([record.topic for record in records]))
    return [left[topic].pop(0) for topic in order]


def batches(records: list[ConsumerRecord], data: st.DataObject) -> list[list[ConsumerRecord]]:
    """Records split at arbitrary points."""
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(records) - 1)), max_size=5)))
    return [records[a:b] for a, b in zip([0, *cuts], [*cuts, len(records)], strict=True)]


@given(st.lists(events, min_size=1, max_size=30), st.data())
def test_statistics_chain_and_states_hold_after_every_round(
    sent: list[Sent], data: st.DataObject
) -> None:
    config = switching(RULES, min_dwell_us=data.draw(st.sampled_from([0, 5 * DAY])))
    world = World(PARTITIONS, config)
    number = data.draw(st.integers(0, 1))
    for batch in batches(logged(world, sent), data):
        number += data.draw(st.integers(0, 1))
        scored_under = model(number, turn=number % 5) if number else None
        world.round(batch, scored_under)
        world.check()
        if scored_under and data.draw(st.booleans()):
            world.sweep(scored_under)
            world.check()
        if data.draw(st.booleans()):
            world.owned = {
                p: owned.confirmed(owned.checkpoint.version) for p, owned in world.owned.items()
            }
        if data.draw(st.integers(0, 3)) == 0:
            world.restart()


@given(st.lists(events, min_size=1, max_size=30), st.data())
def test_after_a_sweep_everyone_is_scored_as_their_record_says(
    sent: list[Sent], data: st.DataObject
) -> None:
    world = World(PARTITIONS)
    for batch in batches(logged(world, sent), data):
        world.round(batch, data.draw(st.sampled_from([None, model(1)])))
    now = model(2, turn=3)
    world.sweep(now)
    for p, owned in world.owned.items():
        records = decode(list(world.customers[p].values()), SHAPE)
        at = window(records, LAYOUT.tile(owned.checkpoint.clock_us), LAYOUT)
        counted = (at.purchases > 0) & may_be_profiled(records)
        expected = world.config.segmentation.vectors(records, at)
        clusters = now.kmeans.predict_arrays(expected).clusters
        assert records["cluster"].tolist() == np.where(counted, clusters, -1).tolist()
        assert (records["vector"][counted] == quantize(expected[counted])).all()
        assert ((records["segment"] >= 0) == counted).all()
        assert (records["generation"] == 2).all()
        assert not records["erased"].any()
        assert owned.checkpoint.settled_generation == 2
    world.check()


@given(st.lists(events, min_size=1, max_size=30), st.data())
def test_records_do_not_depend_on_how_topics_interleave_or_batches_are_cut(
    sent: list[Sent], data: st.DataObject
) -> None:
    folded = []
    for _ in range(2):
        world = World(PARTITIONS)
        records = shuffled_topics(logged(world, sent), data)
        for batch in batches(records, data):
            world.round(batch, data.draw(st.sampled_from([None, model()])))
        world.sweep(model())
        assert len(world.dead_letters) == sum(not isinstance(event, dict) for event in sent)
        names = (
            "head",
            "counts",
            "cents",
            "profile_updated",
            "age",
            "suppressed",
            "vector",
            "cluster",
        )
        folded.append(
            {
                customer: [
                    np.nan_to_num(world.stored(customer, p)[name]).tolist() for name in names
                ]
                for p in PARTITIONS
                for customer in sorted(world.customers[p])
            }
        )
    assert folded[0] == folded[1]


@given(st.lists(events, min_size=1, max_size=30), st.data())
def test_a_replay_of_the_log_gives_the_records_that_live_rounds_gave(
    sent: list[Sent], data: st.DataObject
) -> None:
    live = World(PARTITIONS)
    for batch in batches(logged(live, sent), data):
        live.round(batch, model())
    replayed = World(PARTITIONS)
    records = logged(replayed, sent)
    for batch in batches([r for topic in INPUTS for r in records if r.topic == topic], data):
        replayed.round(batch, replay=True)
    assert not replayed.changes
    assert not replayed.states
    live.sweep(model())
    replayed.sweep(model())
    for p in PARTITIONS:
        assert replayed.customers[p].keys() == live.customers[p].keys()
        assert replayed.erasures[p] == live.erasures[p]
        for name in live.customers[p]:
            for field in ("head", "counts", "cents", "profile_updated", "cluster", "vector"):
                assert (
                    replayed.stored(name, p)[field].tolist() == live.stored(name, p)[field].tolist()
                )
    assert {name for name, state in replayed.states.items() if state is None} >= {
        event["customer_id"]
        for event in sent
        if isinstance(event, dict)
        and "request_id" in event
        and not any(event["customer_id"] in live.customers[p] for p in PARTITIONS)
        and event["action"] != "restore"
    }
    replayed.check()
