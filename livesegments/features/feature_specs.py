"""The features that the model clusters customers by, in one place, and their vectors.

The vector, its natural units, the metric labels, the fields of a persona file, the columns of every
table and the dashboard panels are derived from `CATALOGUE`. CONTRIBUTING.md describes how to add a
feature.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livesegments.contracts.segments import Feature as FeatureName
from livesegments.features.record_codec import Records
from livesegments.features.window import Window


@dataclass(frozen=True, slots=True)
class Scale:
    """Monotonically increasing conversion from a natural unit to the model's unit, and back."""

    forward: Callable[[Any], Any]
    backward: Callable[[Any], Any]


LINEAR = Scale(np.asarray, np.asarray)
LOG = Scale(np.log, np.exp)
LOG1P = Scale(np.log1p, np.expm1)


@dataclass(frozen=True, slots=True)
class Feature:
    """One dimension of the vector.

    Attributes
    ----------
    name
        Name in the message contract.
    title, heading
        Display name, and a short heading for a narrow column.
    measure
        Values (n,) in natural units, from records and their windows; NaN where unknown.
    scale
        Conversion from natural units to model units.
    step
        Smallest change of one customer's value, in natural units.
    least, most
        Plausible range of a customer's value, in natural units.
    digits
        Decimals shown for a mean.
    is_money
        Whether the natural unit is the deployment's currency.
    is_profile
        Whether the value comes from the customer's profile rather than from purchases.
    """

    name: FeatureName
    title: str
    heading: str
    measure: Callable[[Records, Window], NDArray[Any]]
    scale: Scale
    step: float
    least: float
    most: float
    digits: int = 0
    is_money: bool = False
    is_profile: bool = False


CATALOGUE = (
    Feature(
        name="purchases",
        title="Purchases in the window",
        heading="Purch.",
        measure=lambda _, window: window.purchases,
        scale=LOG1P,
        step=1.0,
        least=1.0,
        most=1e4,
        digits=1,
    ),
    Feature(
        name="spend",
        title="Spend in the window",
        heading="Spend",
        # Refunds may exceed the purchases in the window.
        measure=lambda _, window: np.maximum(window.cents, 0) / 100,
        scale=LOG1P,
        step=0.01,
        least=0.0,
        most=1e7,
        is_money=True,
    ),
    Feature(
        name="age",
        title="Age, years",
        heading="Age",
        measure=lambda records, _: records["age"],
        scale=LINEAR,
        step=1.0,
        least=0.0,
        most=130.0,
        is_profile=True,
    ),
    Feature(
        name="income",
        title="Income a year",
        heading="Income",
        measure=lambda records, _: records["income"],
        scale=LOG,
        step=1.0,
        least=1.0,
        most=1e8,
        is_money=True,
        is_profile=True,
    ),
    Feature(
        name="urbanicity",
        title="Urbanicity: 0 rural, 1 urban",
        heading="Urban",
        measure=lambda records, _: records["urbanicity"],
        scale=LINEAR,
        step=0.5,
        least=0.0,
        most=1.0,
        digits=2,
        is_profile=True,
    ),
)
BY_NAME = {feature.name: feature for feature in CATALOGUE}


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
