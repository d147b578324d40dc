"""Hashes that verify computes are those of every store, without the code of the worker."""

import numpy as np
import pandas as pd
from hypothesis import example, given
from hypothesis import strategies as st

from livesegments.operations.verify.event_hashes import hash_ids

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(st.lists(TEXTS))
@example(["", "\0", "1234567", "12345678", "x" * 300])
def test_ids_hash_as_pandas_hashes_them(ids: list[str]) -> None:
    objects = np.array([*ids, None], object)[:-1]
    expected = pd.util.hash_array(objects, categorize=False)
    np.testing.assert_array_equal(hash_ids(ids), expected)
