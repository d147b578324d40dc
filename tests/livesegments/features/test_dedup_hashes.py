"""Hashes of event ids stay compatible with existing stores."""

import numpy as np
import pandas as pd
from hypothesis import example, given
from hypothesis import strategies as st

from livesegments.features.dedup import hashes_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(st.lists(TEXTS))
@example(["", "\0", "1234567", "12345678", "x" * 300])
def test_a_batch_hashes_as_pandas_hashes_it(ids: list[str]) -> None:
    objects = np.array([*ids, None], object)[:-1]
    expected = pd.util.hash_array(objects, categorize=False)
    np.testing.assert_array_equal(hashes_of(ids), expected)
