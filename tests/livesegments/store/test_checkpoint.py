from dataclasses import replace

from livesegments.store.checkpoint import Checkpoint


def stored(checkpoint: Checkpoint) -> dict[bytes, bytes]:
    """The hash as Redis returns it."""
    fields = [str(each).encode() for each in checkpoint.to_fields()]
    return dict(zip(fields[::2], fields[1::2], strict=True))


def test_progress_comes_back_from_its_fields() -> None:
    checkpoint = Checkpoint(
        version=1,
        nonce="00000000000000ab",
        seen="00000000000000aa:7",
        purchases=2,
        profiles=3,
        erasures=4,
        clock_us=5,
        generation=6,
        swept_generation=7,
        swept_tile=8,
        proposed_generation=9,
        recovering=1,
        rescore=1,
    )
    assert Checkpoint.from_fields(stored(checkpoint)) == checkpoint
    assert checkpoint.offsets == (2, 3, 4)
    assert checkpoint.metadata == "00000000000000ab:1"


def test_fields_that_an_older_version_did_not_write_take_their_defaults() -> None:
    found = stored(Checkpoint(version=3, rescore=1))
    del found[b"rescore"]
    assert Checkpoint.from_fields(found | {b"of_a_newer_version": b"x"}) == Checkpoint(version=3)


def test_a_partition_is_settled_in_a_generation_once_all_records_are_in_it() -> None:
    moving = Checkpoint(generation=2, swept_generation=1)
    assert moving.settled_generation == 0
    assert replace(moving, swept_generation=2).settled_generation == 2
