"""The features that a segmentation chooses from, in one place.

The vector, its natural units, the metric labels, the fields of a segmentation file and the columns
of every table are derived from the chosen ones. CONTRIBUTING.md describes how to add a feature.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livesegments.contracts.segments import Feature as FeatureName
from livesegments.features.record_codec import Records
from livesegments.features.window import Tiling, Window, tiles_since_purchase
from livesegments.model.vectors import LIMIT


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
    worth
        1 where a higher value makes a more valuable customer, -1 where a lower one does, else 0.
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
    worth: int = 0

    def steps(self, layout: Tiling) -> tuple[float, float]:
        """Return the smallest change and the largest value of a customer with a purchase."""
        if self.name != "recency":
            return self.step, self.most
        step, tile_days = _recency_step(layout.tiles), layout.window_days / layout.tiles
        return step * tile_days, (layout.tiles - 1) // step * step * tile_days


RECENCY_STEPS = 3
"""Steps of the recency in a window. Customers who buy once a week stay where they are between two
purchases; with a logarithm of days they would move twice a week (``python -m bench flap``)."""


def _recency_step(tiles: int) -> int:
    return -(-tiles // RECENCY_STEPS)


def _recency(records: Records, window: Window) -> NDArray[Any]:
    step = _recency_step(records["counts"].shape[1])
    since = tiles_since_purchase(records, window.clock_tile)
    # The statistics clip what is beyond: two thirds of a window of more than eight years.
    return np.asarray(np.minimum(since // step * step * window.tile_days, LIMIT))


def _basket(_: Records, window: Window) -> NDArray[Any]:
    spend = np.maximum(window.cents, 0) / 100
    basket = np.full(len(spend), np.nan)
    np.divide(spend, window.purchases, out=basket, where=window.purchases > 0)
    return basket


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
        worth=1,
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
        worth=1,
    ),
    Feature(
        name="recency",
        title="Days since the last purchase, in thirds of the window",
        heading="Days",
        measure=_recency,
        scale=LINEAR,
        step=1.0,
        least=0.0,
        most=3660.0,
        worth=-1,
    ),
    Feature(
        name="basket",
        title="Spend a purchase in the window",
        heading="Basket",
        measure=_basket,
        scale=LOG1P,
        step=0.01,
        least=0.0,
        most=1e7,
        is_money=True,
        worth=1,
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
BY_NAME: dict[str, Feature] = {feature.name: feature for feature in CATALOGUE}
