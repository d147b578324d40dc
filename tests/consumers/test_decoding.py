from dataclasses import replace

import numpy as np

from livesegments.consumers.decoding import decode_batch
from livesegments.contracts.dead_letters import Reason
from livesegments.contracts.partitioning import Partitioning
from livesegments.contracts.topics import ERASURES, INPUTS, PROFILES, PURCHASES
from tests.consumers.harness import RULES, World, by_partition, erasure, profile, purchase


def test_an_empty_poll_is_an_empty_batch() -> None:
    batch = decode_batch({}, RULES)
    assert batch.slices == []
    assert batch.records == {topic: [] for topic in INPUTS}
    assert len(batch.purchases_customer) == 0


def test_every_partition_gets_a_slice_with_customers_in_order_of_appearance() -> None:
    world = World((0, 3))
    records = [
        world.record(purchase("d", 1), 3),
        world.record(purchase("b", 1), 0),
        world.record(profile("c", 1), 0),
        world.record(purchase("a", 1), 0),
        world.record(purchase("b", 2), 0),
        world.record(erasure("a", 1), 0),
        world.record(profile("d", 1), 3),
    ]
    batch = decode_batch(by_partition(records), RULES)
    first, last = batch.slices
    assert (first.partition, last.partition) == (0, 3)
    assert batch.customers[first.customers] == ["b", "a", "c"]
    assert batch.customers[last.customers] == ["d"]
    assert batch.purchases_customer[first.purchases].tolist() == [0, 1, 0]
    assert batch.profiles_customer[first.profiles].tolist() == [2]
    assert batch.erasures_customer[first.erasures].tolist() == [1]
    assert batch.purchases_customer[last.purchases].tolist() == [3]
    assert first.next_offsets == {PURCHASES: 3, PROFILES: 1, ERASURES: 1}
    assert last.next_offsets == {PURCHASES: 1, PROFILES: 1}
    polled = {topic: len(each) for topic, each in batch.records.items()}
    assert polled == {PURCHASES: 4, PROFILES: 2, ERASURES: 1}


def test_the_ranges_of_partitions_cover_all_that_was_accepted() -> None:
    world = World((0, 1, 2))
    records = [world.record(purchase(f"c-{i}", 1), i % 3) for i in range(9)]
    records += [world.record((PURCHASES, b"k", b"bad"), i % 3) for i in range(3)]
    batch = decode_batch(by_partition(records), RULES)
    ranges = [range(9)[part.purchases] for part in batch.slices]
    assert [list(each) for each in ranges] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    for part, accepted in zip(batch.slices, ranges, strict=True):
        events = batch.events(PURCHASES, np.array(accepted))
        for column, (record, _) in zip(accepted, events, strict=True):
            assert record.partition == part.partition
            assert record.key.decode() == batch.purchases.customer_id[column]


def test_rejected_records_stay_with_their_partition_and_out_of_the_columns() -> None:
    world = World((0, 1))
    records = [
        world.record((PURCHASES, b"a", b"?"), 1),
        world.record(purchase("a", 1), 1),
        world.record((ERASURES, None, None), 0),
        world.record((PROFILES, None, None), 1),
        world.record(purchase("b", 1, currency="EUR"), 0),
    ]
    batch = decode_batch(by_partition(records), RULES)
    reasons = [
        [(bad.record.topic, bad.record.offset, bad.rejection.reason.value) for bad in part.rejected]
        for part in batch.slices
    ]
    assert reasons == [
        [(PURCHASES, 0, "bad_currency"), (ERASURES, 0, "null_value")],
        [(PURCHASES, 0, "not_json"), (PROFILES, 0, "key_mismatch")],
    ]
    assert [batch.customers[part.customers] for part in batch.slices] == [[], ["a"]]
    assert batch.slices[1].next_offsets == {PURCHASES: 2, PROFILES: 1}


def test_columns_lead_back_to_the_records_and_ids_they_came_from() -> None:
    world = World()
    records = [
        world.record((PURCHASES, b"x", b"bad")),
        world.record(purchase("a", 1, 5.0)),
        world.record(profile("a", 1)),
        world.record(erasure("a", 2)),
    ]
    batch = decode_batch(by_partition(records), RULES)
    first = np.array([0])
    assert batch.events(PURCHASES, first) == [(records[1], "a-1-5.0")]
    assert batch.events(PROFILES, first) == [(records[2], None)]
    assert batch.events(ERASURES, first) == [(records[3], "a-2")]
    assert batch.events(ERASURES, first[:0]) == []


def test_gaps_in_offsets_are_left_as_they_are() -> None:
    world = World()
    records = [world.record(purchase("a", 1)) for _ in range(9)]
    batch = decode_batch(by_partition([records[0], records[7]]), RULES)
    assert batch.slices[0].next_offsets == {PURCHASES: 8}
    assert batch.purchases_customer.dtype == np.int64


def test_a_record_in_another_partition_than_its_keys_is_rejected() -> None:
    partitioning = Partitioning("murmur2", 2)
    events = [purchase(name, 1) for name in "abcdef"]
    events += [profile("a", 1, age=3), erasure("b", 1), profile("a", 2)]
    world = World((0, 1))
    records = [world.record(event, partition) for partition in (0, 1) for event in events]
    records.append(world.record((PROFILES, b"c", None), 1 - partitioning.of_customer("c")))
    records.append(world.record((PURCHASES, b"c", b"{}"), 1 - partitioning.of_customer("c")))
    batch = decode_batch(by_partition(records), replace(RULES, partitioning=partitioning))
    for part in batch.slices:
        assert {partitioning.of_customer(name) for name in batch.customers[part.customers]} == {
            part.partition
        }
        places = [(bad.record.topic, bad.record.offset) for bad in part.rejected]
        assert len(places) == len(set(places))
        for bad in part.rejected:
            is_broken = bad.record.value == b"{}"
            wanted = Reason.SCHEMA_INVALID if is_broken else Reason.WRONG_PARTITION
            assert bad.rejection.reason == wanted
            assert partitioning.of_keys([bad.record.key]) != [part.partition]
    accepted = (batch.purchases, batch.profiles, batch.erasures)
    assert [len(each.row) for each in accepted] == [6, 2, 1]
    assert sum(len(part.rejected) for part in batch.slices) == 6 + 2 + 1 + 2
