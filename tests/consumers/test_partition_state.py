from dataclasses import replace

import numpy as np

from livesegments.consumers.partition_state import PartitionState, decode_estimators
from livesegments.store.checkpoint import Checkpoint, Offsets
from livesegments.store.outbox import Entry, Output
from tests.segmentations import PERSONAS

OUTPUT = Output("topic", b"k", b"v", [])
SIZE = Entry.of(1, Offsets(1, 1, 1), [OUTPUT]).size


def commit(owned: PartitionState, *outputs: Output) -> PartitionState:
    """Commit a version whose offset in each input equals its number."""
    version = owned.checkpoint.version + 1
    checkpoint = replace(
        owned.checkpoint, version=version, purchases=version, profiles=version, erasures=version
    )
    added = Entry.of(version, checkpoint.offsets, outputs) if outputs else None
    return owned.committed(checkpoint, added)


def entry(version: int) -> Entry:
    return Entry.of(version, Offsets(version, version, version), [OUTPUT])


def test_what_a_commit_publishes_waits_until_kafka_has_it() -> None:
    owned = commit(commit(commit(PartitionState(0, Checkpoint()), OUTPUT)), OUTPUT)
    assert owned.unpublished == (entry(1), entry(3))
    assert (owned.in_outbox, owned.trimmable) == ((1, 3), ())
    part = owned.confirmed(2)
    assert (part.unpublished, part.published) == ((entry(3),), 2)
    assert part.trimmable == (1,)
    told = owned.confirmed(3)
    assert (told.unpublished, told.published, told.offsets_pending) == ((), 3, False)
    assert told.trimmable == (1, 3), "the store has them until the next commit"
    after = commit(told, OUTPUT)
    assert (after.in_outbox, after.trimmable) == ((4,), ())
    assert after.unpublished == (entry(4),)


def portion(
    owned: PartitionState, outputs: int
) -> tuple[int, int, tuple[int, int, int] | None, str]:
    """(version, outputs, offsets, metadata) of a batch with that many outputs."""
    version, size, publication = owned.portion(outputs * SIZE)
    told = list(publication.outputs)
    assert size == sum(each.size for each in owned.unpublished if each.data in publication.entries)
    return version, len(told), publication.offsets, publication.metadata


def test_a_portion_has_whole_versions_and_the_offsets_of_its_last() -> None:
    owned = commit(commit(commit(PartitionState(0, Checkpoint(nonce="n")), OUTPUT, OUTPUT)), OUTPUT)
    owned = commit(commit(owned, OUTPUT))
    assert portion(owned, 0) == (1, 2, (1, 1, 1), "n:1"), "one version at least"
    assert portion(owned, 2) == (1, 2, (1, 1, 1), "n:1")
    assert portion(owned, 3) == (3, 3, (3, 3, 3), "n:3")
    assert portion(owned, 4) == (5, 4, (5, 5, 5), "n:5"), "all there is: as of the last commit"
    assert portion(owned.confirmed(1), 1) == (3, 1, (3, 3, 3), "n:3")
    assert portion(owned.confirmed(5), 1) == (5, 0, (5, 5, 5), "n:5")


def test_a_version_without_offsets_is_not_the_last_of_a_portion() -> None:
    first = PartitionState(0, Checkpoint(nonce="n"), unpublished=(replace(entry(1), offsets=None),))
    assert portion(first, 0) == (0, 1, (0, 0, 0), "n:0"), "but of all there is"
    joined = replace(first, unpublished=(*first.unpublished, entry(2), entry(3)))
    assert portion(joined, 1) == (2, 2, (2, 2, 2), "n:2")


def test_estimators_come_from_the_stored_statistics() -> None:
    learned = PERSONAS.estimator()
    learned.learn_arrays(np.ones((2, 5), np.int32), np.array([4, 4]))
    [(number, decoded)] = decode_estimators({3: learned.statistics.to_bytes()}, PERSONAS).items()
    assert (number, decoded.statistics) == (3, learned.statistics)


def test_a_partition_has_learned_a_generation_once_it_is_swept() -> None:
    owned = PartitionState(0, Checkpoint(swept_generation=2), {2: PERSONAS.estimator()})
    assert owned.learned_in(2, PERSONAS.estimator()) is owned.estimators[2]
    assert owned.learned_in(3, PERSONAS.estimator()) is None
    empty = PartitionState(0, Checkpoint(swept_generation=3)).learned_in(3, PERSONAS.estimator())
    assert empty is not None
    assert not empty.statistics.members.any()
