"""Contents of commits: dead letters, partitions, versions, the outbox."""

from livesegments.consumers.processor import process
from livesegments.contracts.dead_letters import parse
from livesegments.contracts.topics import DEAD_LETTERS, ERASURES, PURCHASES
from tests.consumers.harness import (
    DAY,
    RETIREE,
    STUDENT,
    World,
    erasure,
    model,
    profile,
    purchase,
    statistics_in,
)


def test_a_refused_record_becomes_a_dead_letter_with_its_bytes_and_the_reason() -> None:
    world = World()
    original = [("trace", b"1"), ("empty", None)]
    bad = world.record((PURCHASES, b"c", b"{not json"), headers=original, timestamp_ms=5)
    tally = world.round([bad, world.record(purchase("c", 1))], model())
    [output] = world.dead_letters
    assert (output.topic, output.key, output.value) == (DEAD_LETTERS, b"c", b"{not json")
    letter = parse(output.headers)
    assert (letter.topic, letter.partition, letter.offset) == (PURCHASES, 0, 0)
    assert (letter.timestamp_ms, letter.reason) == (5, "not_json")
    assert letter.original_headers == [("trace", b"1"), ("empty", b"")]
    assert tally.dead_letters == ["not_json"]
    assert len(world.changes) == 1, "the rest of its batch continues"
    assert world.owned[0].checkpoint.purchases == 2


def test_a_batch_of_nothing_but_dead_letters_moves_the_offsets() -> None:
    world = World()
    world.send((ERASURES, b"c", None), (PURCHASES, None, None), (PURCHASES, None, b"{}"))
    assert world.owned[0].checkpoint.offsets == (2, 0, 1)
    assert [(out.key, out.value) for out in world.dead_letters] == [
        (None, b""),  # Kafka's client sends no record of two nulls
        (None, b"{}"),
        (b"c", None),
    ]
    assert world.customers[0] == {}


def test_partitions_of_one_round_are_decided_each_by_itself() -> None:
    world = World(partitions=(0, 2, 5))
    records = [
        world.record(purchase("b", 50, 30.0), 5),
        world.record(profile("b", 49, **RETIREE), 5),
        world.record((PURCHASES, b"x", b"x"), 2),
        world.record(purchase("a", 1, 70.0), 0),
        world.record(profile("a", 0, **STUDENT), 0),
        world.record(purchase("a2", 2, 80.0), 0),
        world.record(erasure("gone", 3), 5),
    ]
    world.round(records, model())
    assert sorted(world.customers[0]) == ["a", "a2"]
    assert list(world.customers[5]) == ["b"]
    assert world.customers[2] == {}
    assert world.stored("a", 0)["cents"].sum() == 7_000
    assert world.stored("b", 5)["cents"].sum() == 3_000
    assert world.stored("b", 5)["age"] == 72
    clocks = {p: owned.checkpoint.clock_us // DAY for p, owned in world.owned.items()}
    assert clocks == {0: 2, 2: 0, 5: 50}
    offsets = {p: owned.checkpoint.offsets for p, owned in world.owned.items()}
    assert offsets == {0: (2, 1, 0), 2: (1, 0, 0), 5: (1, 1, 1)}
    assert [owned.checkpoint.version for owned in world.owned.values()] == [1, 1, 1]
    assert {p for p in world.erasures if world.erasures[p]} == {5}
    assert world.owned[5].estimators[1].statistics.members.sum() == 1
    assert {c.cause.partition for c in world.changes if c.cause} == {0, 5}
    world.check()


def test_versions_rise_by_one_with_every_commit_and_stamp_what_it_publishes() -> None:
    world = World()
    for day in range(1, 4):
        world.send(purchase(f"c-{day}", day), model=model())
    assert [change.version for change in world.changes] == [1, 2, 3]
    assert [commit.checkpoint.version for commit in world.commits] == [1, 2, 3]


def test_published_versions_leave_the_outbox_with_the_next_commit() -> None:
    world = World()
    world.send(purchase("a", 1), model=model())
    world.send(purchase("b", 1), model=model())
    assert world.outbox[0] == {1, 2}
    assert [entry.version for entry in world.owned[0].unpublished] == [1, 2]
    world.owned[0] = world.owned[0].confirmed(world.owned[0].checkpoint.version)
    assert world.owned[0].unpublished == ()
    world.send(purchase("c", 1), model=model())
    assert world.outbox[0] == {3}
    assert world.owned[0].published == 2
    world.check()


def test_a_refused_commit_leaves_the_owners_knowledge_as_it_was() -> None:
    world = World()
    world.send(*(purchase(f"c-{i}", 1, 9.0 * i) for i in range(1, 9)), model=model())
    owned = world.owned[0]
    before = {number: each.to_bytes() for number, each in statistics_in(owned.estimators).items()}
    records = [world.record(purchase(f"c-{i}", 2, 400.0)) for i in range(20)]
    # The same generation, then another: both move members out of the stored statistics.
    for scored_under in (model(), model(2, turn=1)):
        process(world.work(records, scored_under))
    assert world.owned[0] is owned
    assert {n: each.to_bytes() for n, each in statistics_in(owned.estimators).items()} == before
    first, second = (process(world.work(records, model())).partitions[0].commit for _ in range(2))
    assert first == second, "and it can be decided again"
