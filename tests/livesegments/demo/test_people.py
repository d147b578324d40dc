"""People made in the words of the personas."""

import numpy as np
import pandas as pd

from livesegments.config.segmentation import built_in
from livesegments.demo.people import GROUPS, PEOPLE, made_people
from livesegments.model import batch_kmeans
from livesegments.model.naming import match

URBANICITY = {"rural": 0.0, "suburban": 0.5, "urban": 1.0}


def vectors(bought: pd.DataFrame, profiles: pd.DataFrame) -> pd.DataFrame:
    """Return the default features over the last 90 days, by customer."""
    lately = bought[bought["occurred_at"] > bought["occurred_at"].max() - pd.Timedelta(days=90)]
    amounts = lately.groupby("customer_id")["amount"]
    people = profiles.set_index("customer_id")
    return pd.DataFrame(
        {
            "purchases": np.log1p(amounts.count()),
            "spend": np.log1p(amounts.sum()),
            "age": people["age"],
            "income": np.log(people["income"]),
            "urbanicity": people["location"].map(URBANICITY),
        }
    ).dropna()


def test_every_group_has_a_fifth_and_a_segment() -> None:
    purchases, _, named = made_people()
    assert named["group"].value_counts().tolist() == [PEOPLE // 5] * 5
    assert tuple(GROUPS) == built_in("personas").segment_ids
    assert set(purchases["customer_id"]) <= set(named["customer_id"])
    assert purchases["occurred_at"].is_monotonic_increasing


def test_batch_k_means_finds_and_names_the_groups() -> None:
    purchases, profiles, named = made_people()
    found = vectors(purchases, profiles)
    fit = batch_kmeans.fit(found.to_numpy(), 5, seed=1)
    names = np.array(match(fit.zscores(fit.centroids), built_in("personas").segments))
    groups = named.set_index("customer_id")["group"].reindex(found.index).to_numpy()
    assert np.mean(names[fit.clusters] == groups) > 0.96


def test_the_same_seed_makes_the_same_people() -> None:
    once, again = made_people(50, seed=3), made_people(50, seed=3)
    for ours, theirs in zip(once, again, strict=True):
        pd.testing.assert_frame_equal(ours, theirs)
