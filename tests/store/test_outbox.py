import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.outbox import Output, pack, unpack

outputs = st.builds(
    Output,
    topic=st.text(min_size=1),
    key=st.none() | st.binary(),
    value=st.none() | st.binary(),
    headers=st.lists(st.tuples(st.text(), st.binary())),
)


@given(st.lists(outputs))
def test_outputs_come_back_from_their_bytes(some: list[Output]) -> None:
    assert unpack(pack(some)) == some


def test_null_and_empty_are_told_apart() -> None:
    both = [Output("t", b"", b"", []), Output("t", None, None, [])]
    assert unpack(pack(both)) == both


def test_a_dead_letter_may_have_the_largest_headers_that_a_record_can() -> None:
    hostile = [
        Output("t", b"k", b"v", [("n" * 70_000, b"v" * 70_000)]),
        Output("t", b"k", b"v", [("", b"")] * 70_000),
    ]
    assert unpack(pack(hostile)) == hostile


@given(st.lists(outputs, min_size=1), st.integers(1, 8))
def test_bytes_cut_short_are_refused(some: list[Output], missing: int) -> None:
    with pytest.raises(ValueError, match="truncated"):
        unpack(pack([Output("topic", b"key", b"value", []), *some, some[0]])[:-missing])
