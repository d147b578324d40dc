from collections.abc import Sequence
from dataclasses import replace

import pytest

from livesegments.consumers.recovery.ownership import (
    Committed,
    Extent,
    Verdict,
    is_lost,
    taken_over,
    verdict,
)
from livesegments.store.checkpoint import FROM_NOTHING, FROM_THE_STORE, Checkpoint, Offsets

OWN, OTHER = "00000000000000aa", "00000000000000bb"
STORE = Checkpoint(
    version=7,
    nonce=OWN,
    seen=f"{OTHER}:3",
    purchases=10,
    profiles=20,
    erasures=30,
    topics="these",
)
INPUTS = Extent(Offsets(0, 0, 0), Offsets(90, 90, 90), "these")


def committed(nonce: str, version: int) -> Committed:
    return Committed(Offsets(10, 20, 30), nonce, version)


@pytest.mark.parametrize(
    ("checkpoint", "in_kafka", "outputs_empty", "decided"),
    [
        (None, None, True, Verdict.FRESH),
        (None, None, False, Verdict.RECOVER),  # both are lost
        (None, committed(OWN, 7), True, Verdict.RECOVER),  # the store is lost
        (None, committed(OWN, 7), False, Verdict.RECOVER),
        (STORE, None, True, Verdict.RECOVER),  # offsets are lost, or not ours
        (STORE, None, False, Verdict.RECOVER),
        (STORE, committed(OWN, 7), False, Verdict.CURRENT),
        (STORE, committed(OWN, 5), False, Verdict.CURRENT),  # the outbox must be published
        (STORE, committed(OWN, 8), False, Verdict.RECOVER),  # the store went back
        (STORE, committed(OTHER, 3), False, Verdict.CURRENT),  # as at the takeover
        (STORE, committed(OTHER, 4), False, Verdict.RECOVER),  # the older owner continued
        (STORE, committed(OTHER, 2), False, Verdict.RECOVER),
        (replace(STORE, recovering=1), committed(OWN, 7), False, Verdict.RECOVER),
        (replace(STORE, recovering=1), None, True, Verdict.RECOVER),
        (replace(STORE, rescore=1), committed(OWN, 7), False, Verdict.CURRENT),
        (replace(STORE, seen=""), committed(OTHER, 3), False, Verdict.RECOVER),
    ],
)
def test_how_to_take_over(
    checkpoint: Checkpoint | None, in_kafka: Committed | None, outputs_empty: bool, decided: Verdict
) -> None:
    assert verdict(checkpoint, in_kafka, INPUTS, outputs_empty) is decided


@pytest.mark.parametrize(
    ("start", "end", "goes_on_at"),
    [
        ((10, 20, 30), (10, 20, 30), (10, 20, 30)),
        ((11, 0, 0), (90, 90, 90), (11, 20, 30)),
        ((0, 21, 31), (90, 90, 90), (10, 21, 31)),
        ((0, 0, 0), (9, 19, 29), (9, 19, 29)),
        ((12, 0, 0), (12, 90, 90), (12, 20, 30)),
    ],
)
def test_a_store_whose_offsets_fell_off_the_logs_is_kept_and_goes_on_where_they_are(
    start: Sequence[int], end: Sequence[int], goes_on_at: tuple[int, int, int]
) -> None:
    inputs = replace(INPUTS, start=Offsets(*start), end=Offsets(*end))
    assert verdict(STORE, committed(OWN, 7), inputs, outputs_empty=False) is Verdict.CURRENT
    assert not is_lost(STORE, inputs)
    assert taken_over(STORE, committed(OWN, 7), inputs, OTHER).offsets == goes_on_at


@pytest.mark.parametrize(
    ("checkpoint", "lost"),
    [
        (None, True),
        (STORE, False),
        (replace(STORE, topics="others of their names"), True),
        (replace(STORE, recovering=FROM_THE_STORE), False),
        (replace(STORE, recovering=FROM_NOTHING), True),
    ],
)
def test_only_a_store_that_holds_nothing_of_these_topics_is_lost(
    checkpoint: Checkpoint | None, lost: bool
) -> None:
    assert is_lost(checkpoint, INPUTS) == lost


@pytest.mark.parametrize(
    ("folded", "found", "decided"),
    [
        ("these", "these", Verdict.CURRENT),
        ("these", "others of their names", Verdict.RECOVER),
        ("these", "", Verdict.CURRENT),  # a broker without topic ids
        ("", "these", Verdict.CURRENT),  # a broker that had none before
    ],
)
def test_topics_that_were_made_anew_need_a_recovery(
    folded: str, found: str, decided: Verdict
) -> None:
    checkpoint, inputs = replace(STORE, topics=folded), replace(INPUTS, topics=found)
    assert verdict(checkpoint, committed(OWN, 7), inputs, outputs_empty=False) is decided
    assert taken_over(checkpoint, committed(OWN, 7), inputs, OTHER).topics == found


METADATA = f"{OWN}:7"


def test_offsets_are_ours_when_all_three_carry_the_same_metadata() -> None:
    assert Committed.of([(1, METADATA), (2, METADATA), (3, METADATA)]) == Committed(
        Offsets(1, 2, 3), OWN, 7
    )
    assert Committed(Offsets(1, 2, 3), OWN, 7).metadata == METADATA


@pytest.mark.parametrize(
    "offsets",
    [
        [],
        [None, None, None],
        [(1, METADATA), (2, METADATA), None],
        [(1, METADATA), (2, METADATA)],
        [(1, METADATA), (2, METADATA), (3, f"{OWN}:8")],
        [(1, None), (2, None), (3, None)],  # a broker that keeps no metadata
        [(1, ""), (2, ""), (3, "")],
        [(1, "by hand")] * 3,
        [(1, f"{OWN}:")] * 3,
        [(1, f"{OWN}:-1")] * 3,
        [(1, f" {METADATA}")] * 3,
        [(1, f"{METADATA}\n")] * 3,
        [(1, f"{OWN[1:]}:7")] * 3,
        [(1, f"{OWN.upper()}:7")] * 3,
        [(1, f"{OWN}:" + "9" * 4096)] * 3,
        [(1, f"{OWN}:٣")] * 3,
    ],
)
def test_other_offsets_are_as_good_as_none(offsets: list[tuple[int, str | None] | None]) -> None:
    assert Committed.of(offsets) is None


def test_a_new_owner_has_a_nonce_of_its_own_and_a_version_above_all_published() -> None:
    new = "00000000000000cc"
    later = replace(INPUTS, start=Offsets(5, 6, 7))
    assert taken_over(None, None, later, new) == Checkpoint(
        version=1, nonce=new, purchases=5, profiles=6, erasures=7, topics="these"
    )
    after = taken_over(STORE, committed(OWN, 7), INPUTS, new)
    assert after == replace(STORE, version=8, nonce=new, seen=f"{OWN}:7")
    assert taken_over(STORE, committed(OTHER, 90), INPUTS, new).version == 91
    assert taken_over(STORE, None, INPUTS, new) == replace(STORE, version=8, nonce=new, seen="")
    lost = taken_over(None, committed(OTHER, 90), later, new)
    assert (lost.version, lost.offsets, lost.seen) == (91, (5, 6, 7), f"{OTHER}:90")


def test_what_a_new_owner_writes_is_current_for_the_next_one_before_and_after_it_publishes() -> (
    None
):
    before = committed(OTHER, 3)
    checkpoint = taken_over(STORE, before, INPUTS, "00000000000000cc")
    assert verdict(checkpoint, before, INPUTS, outputs_empty=False) is Verdict.CURRENT
    published = committed("00000000000000cc", checkpoint.version)
    assert verdict(checkpoint, published, INPUTS, outputs_empty=False) is Verdict.CURRENT
