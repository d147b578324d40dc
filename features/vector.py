"""The five features that the model clusters by."""

import numpy as np
from numpy.typing import NDArray

from features.record import Records
from features.window import Window

FEATURES = ("purchases", "spend", "age", "income", "urbanicity")


def vectors(records: Records, window: Window) -> NDArray[np.float64]:
    """Return the feature vectors (n, 5): NaN where a profile field is unknown.

    ``log1p(purchases)``, ``log1p(spend)`` in currency units (0 when refunds exceed purchases),
    age in years, ``log(income)`` and urbanicity (rural 0, suburban 0.5, urban 1).
    """
    out = np.empty((len(records), len(FEATURES)))
    out[:, 0] = np.log1p(window.purchases)
    out[:, 1] = np.log1p(np.maximum(window.cents, 0) / 100)
    out[:, 2] = records["age"]
    out[:, 3] = np.log(records["income"])
    out[:, 4] = records["urbanicity"]
    return out


def natural(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return vectors (n, 5) in natural units: purchases, spend, years, income, urbanicity."""
    out = np.array(vectors, dtype=np.float64)
    out[:, :2] = np.expm1(out[:, :2])
    out[:, 3] = np.exp(out[:, 3])
    return out
