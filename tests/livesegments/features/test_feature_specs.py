from typing import get_args

import numpy as np
import pytest

from livesegments.contracts.segments import Centroid, Feature
from livesegments.features.feature_specs import BY_NAME, CATALOGUE, Scale


def test_the_catalogue_has_the_features_of_the_contract_in_their_order() -> None:
    assert get_args(Feature) == tuple(BY_NAME)
    assert set(Centroid.model_fields) == set(BY_NAME)


@pytest.mark.parametrize("scale", {each.scale for each in CATALOGUE})
def test_a_scale_rises_and_comes_back(scale: Scale) -> None:
    values = np.array([0.5, 1.0, 7.25, 1e4])
    counted = scale.forward(values)
    assert (np.diff(counted) > 0).all()
    np.testing.assert_allclose(scale.backward(counted), values)
