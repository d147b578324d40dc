from dataclasses import replace

from consumers.owned import Owned, counted_in, decode_statistics
from model.cluster_statistics import ClusterStatistics
from store.outbox import Entry, Output
from store.progress import Progress

OUTPUT = Output("topic", b"k", b"v", [])


def commit(owned: Owned, *outputs: Output) -> Owned:
    """Commit a version that has come as far in each input as its number says."""
    version = owned.progress.version + 1
    progress = replace(
        owned.progress, version=version, purchases=version, profiles=version, erasures=version
    )
    return owned.committed(progress, Entry.of(progress, outputs))


def entry(version: int) -> Entry:
    return Entry(version, (version,) * 3, (OUTPUT,))


def test_what_a_commit_publishes_waits_until_kafka_has_it() -> None:
    owned = commit(commit(commit(Owned(0, Progress()), OUTPUT)), OUTPUT)
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


def portion(owned: Owned, outputs: int) -> tuple[int, int, tuple[int, int, int] | None, str]:
    """(version, outputs, offsets, metadata) of a portion of so many outputs."""
    version, size, publication = owned.portion(outputs * OUTPUT.size)
    told = list(publication.outputs)
    assert size == len(told) * OUTPUT.size
    return version, len(told), publication.offsets, publication.metadata


def test_a_portion_has_whole_versions_and_the_offsets_of_its_last() -> None:
    owned = commit(commit(commit(Owned(0, Progress(nonce="n")), OUTPUT, OUTPUT)), OUTPUT)
    owned = commit(commit(owned, OUTPUT))
    assert portion(owned, 0) == (1, 2, (1, 1, 1), "n:1"), "one version at least"
    assert portion(owned, 2) == (1, 2, (1, 1, 1), "n:1")
    assert portion(owned, 3) == (3, 3, (3, 3, 3), "n:3")
    assert portion(owned, 4) == (5, 4, (5, 5, 5), "n:5"), "all there is: as of the last commit"
    assert portion(owned.confirmed(1), 1) == (3, 1, (3, 3, 3), "n:3")
    assert portion(owned.confirmed(5), 1) == (5, 0, (5, 5, 5), "n:5")


def test_a_version_without_offsets_is_not_the_last_of_a_portion() -> None:
    first = Owned(0, Progress(nonce="n"), unpublished=(replace(entry(1), offsets=None),))
    assert portion(first, 0) == (0, 1, (0, 0, 0), "n:0"), "but of all there is"
    joined = replace(first, unpublished=(*first.unpublished, entry(2), entry(3)))
    assert portion(joined, 1) == (2, 2, (2, 2, 2), "n:2")


def test_statistics_come_from_their_bytes_and_are_zero_where_there_are_none() -> None:
    zeros = ClusterStatistics.zeros(5, 5)
    assert decode_statistics({3: zeros.to_bytes()}) == {3: zeros}
    assert counted_in({}, 3) == zeros
