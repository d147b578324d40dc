"""The features that the model clusters customers by: all there is to say of each, and only here.

The vector, its natural units, the labels of the metrics, the fields of a persona file, the columns
of every table and the panels of the dashboard follow from `CATALOGUE`. CONTRIBUTING.md says what a
new feature takes.
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
    """How a natural unit becomes the unit that the model counts in, rising, and back."""

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
        As the contract spells it.
    title, heading
        For people: what it is, and the head of a narrow column.
    measure
        Values (n,) in natural units, from records and their windows; NaN where unknown.
    scale
        From natural units to those of the model.
    step
        The smallest change of one customer's value, in natural units.
    least, most
        As far as a person can be thought to go, in natural units.
    digits
        Decimals that a mean is shown with.
    is_money
        Whether the natural unit is the deployment's currency.
    is_profile
        Whether it is of who customers are, rather than of how they buy.
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
        # Refunds may exceed what was spent in the window.
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
