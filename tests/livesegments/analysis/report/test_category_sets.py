"""Category sets of customers, in 16 bytes each."""

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from livesegments.analysis.report import category_sets as module
from livesegments.analysis.report.category_sets import MOST, PurchasedCategories

BATCHES = st.lists(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, MOST + 2)), max_size=9)
)


@given(BATCHES, st.integers(0, 5))
def test_it_is_a_set_of_categories_for_each_customer(
    batches: list[list[tuple[str, int]]], pending: int
) -> None:
    found, sets = PurchasedCategories(), defaultdict[str, set[int]](set)
    before, module._PENDING = module._PENDING, pending
    try:
        for batch in batches:
            found.add([name for name, _ in batch], np.array([n for _, n in batch], np.int64))
            for name, n in batch:
                sets[name] |= {n} & set(range(MOST))
    finally:
        module._PENDING = before
    names = list("abcdefghi")
    masks = found.masks(names).tolist()
    assert masks == [sum(1 << n for n in sets[name]) for name in names]
