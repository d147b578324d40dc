"""The feature vector of a customer, as defined in `livesegments.features.feature_specs`."""

import numpy as np
from numpy.typing import NDArray

from livesegments.features.feature_specs import CATALOGUE
from livesegments.features.record_codec import Records
from livesegments.features.window import Window

FEATURES = tuple(feature.name for feature in CATALOGUE)
PROFILE_FEATURES = tuple(feature.name for feature in CATALOGUE if feature.is_profile)


def vectors(records: Records, window: Window) -> NDArray[np.float64]:
    """Return the feature vectors (n, d): NaN where a profile field is unknown.

    ``log1p(purchases)``, ``log1p(spend)`` in currency units (0 when refunds exceed purchases),
    age in years, ``log(income)`` and urbanicity (rural 0, suburban 0.5, urban 1).
    """
    out = np.empty((len(records), len(CATALOGUE)))
    for column, feature in enumerate(CATALOGUE):
        out[:, column] = feature.scale.forward(feature.measure(records, window))
    return out


def natural(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return vectors (n, d) in natural units: purchases, spend, years, income, urbanicity."""
    out = np.empty(np.shape(vectors))
    for column, feature in enumerate(CATALOGUE):
        out[:, column] = feature.scale.backward(vectors[:, column])
    return out
