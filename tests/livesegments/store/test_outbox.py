import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.store.checkpoint import Offsets
from livesegments.store.outbox import Entry, Output, deserialize, serialize

headers = st.lists(st.tuples(st.text(), st.binary()))
outputs = st.builds(
    Output,
    topic=st.text(min_size=1),
    key=st.none() | st.binary(),
    value=st.none() | st.binary(),
    own_headers=headers,
    shared_headers=st.sampled_from([(), (("a", b""),), (("b", b"1"), ("c", b"2"))])
    | headers.map(tuple),
)


@given(st.lists(outputs))
def test_outputs_come_back_from_their_bytes(some: list[Output]) -> None:
    assert deserialize(serialize(some))[1] == some


@given(st.lists(outputs), st.none() | st.builds(Offsets, *[st.integers(0, 2**63 - 1)] * 3))
def test_an_entry_comes_back_from_its_bytes(some: list[Output], offsets: Offsets | None) -> None:
    entry = Entry.of(7, offsets, some)
    assert Entry.from_bytes(7, entry.data) == entry
    assert (entry.offsets, entry.outputs) == (offsets, some)
    with pytest.raises(ValueError, match="truncated"):
        Entry.from_bytes(7, entry.data[:-1])


def test_null_and_empty_are_told_apart() -> None:
    both = [Output("t", b"", b"", []), Output("t", None, None, [])]
    assert deserialize(serialize(both))[1] == both


def test_a_dead_letter_may_have_the_largest_headers_that_a_record_can() -> None:
    hostile = [
        Output("t", b"k", b"v", [("n" * 70_000, b"v" * 70_000)]),
        Output("t", b"k", b"v", [("", b"")] * 70_000),
    ]
    assert deserialize(serialize(hostile))[1] == hostile


@given(st.lists(outputs, min_size=1), st.integers(1, 8))
def test_bytes_cut_short_are_refused(some: list[Output], missing: int) -> None:
    with pytest.raises(ValueError, match="truncated"):
        deserialize(serialize([Output("topic", b"key", b"value", []), *some, some[0]])[:-missing])


def test_headers_that_are_shared_are_kept_once() -> None:
    shared = (("name", b"v" * 1_000),)
    some = [Output("t", b"k", b"v", [], shared)] * 100
    assert len(serialize(some)) < 3_000
    first, *others = deserialize(serialize(some))[1]
    assert all(each.shared_headers is first.shared_headers for each in others)
    assert first.headers == list(shared)


def test_bytes_that_refer_to_no_headers_are_refused() -> None:
    with pytest.raises(ValueError, match="not there"):
        deserialize(msgspec.msgpack.encode((None, ([], [("t", None, None, [], 0)]))))
