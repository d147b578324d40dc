from dataclasses import replace

from consumers.owned import Owned, counted_in, decode_statistics
from model.cluster_statistics import ClusterStatistics
from store.outbox import Output
from store.progress import Progress

OUTPUT = Output("topic", b"k", b"v", [])


def commit(owned: Owned, *outputs: Output) -> Owned:
    return owned.committed(replace(owned.progress, version=owned.progress.version + 1), outputs)


def test_what_a_commit_publishes_waits_until_kafka_has_it() -> None:
    owned = commit(commit(commit(Owned(0, Progress()), OUTPUT)), OUTPUT)
    assert owned.unpublished == ((1, (OUTPUT,)), (3, (OUTPUT,)))
    assert (owned.in_outbox, owned.trimmable) == ((1, 3), ())
    part = owned.confirmed(2)
    assert (part.unpublished, part.published) == (((3, (OUTPUT,)),), 2)
    assert part.trimmable == (1,)
    told = owned.confirmed(3)
    assert (told.unpublished, told.published, told.offsets_pending) == ((), 3, False)
    assert told.trimmable == (1, 3), "the store has them until the next commit"
    after = commit(told, OUTPUT)
    assert (after.in_outbox, after.trimmable) == ((4,), ())
    assert after.unpublished == ((4, (OUTPUT,)),)


def test_statistics_come_from_their_bytes_and_are_zero_where_there_are_none() -> None:
    zeros = ClusterStatistics.zeros(5, 5)
    assert decode_statistics({3: zeros.to_bytes()}) == {3: zeros}
    assert counted_in({}, 3) == zeros
