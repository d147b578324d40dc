"""The five default personas, and the naming of clusters after personas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from livesegments.model.distance import squared_distances
from livesegments.model.types import Floats, read_only


@dataclass(frozen=True, slots=True)
class Persona:
    """A segment as marketing defines it.

    Attributes
    ----------
    id
        Segment id; immutable, never reused.
    name
        Display name.
    description
        One sentence.
    position
        Expected position of the persona, in z-units of the population: purchases, spend, age,
        income, urbanicity.

    """

    id: str
    name: str
    description: str
    position: tuple[float, ...]


PERSONAS = (
    Persona(
        "young-professionals",
        "Young Professionals",
        "High income, urban, buy often, younger than most.",
        (0.6, 0.5, -0.6, 0.9, 0.8),
    ),
    Persona(
        "families",
        "Families",
        "Middle-aged, suburban, with moderate income and purchases.",
        (0.1, 0.2, 0.2, 0.1, -0.1),
    ),
    Persona(
        "retirees",
        "Retirees",
        "Low income, rural, buy seldom, older than most.",
        (-1.0, -0.8, 1.5, -0.8, -1.2),
    ),
    Persona(
        "students",
        "Students",
        "Low income, urban, buy often, the youngest.",
        (0.4, -0.4, -1.3, -1.2, 0.8),
    ),
    Persona(
        "high-value-customers",
        "High-Value Customers",
        "High income, urban, buy very often and spend the most.",
        (1.4, 1.6, 0.3, 1.1, 0.7),
    ),
)


def positions(personas: Sequence[Persona]) -> Floats:
    """Expected positions of personas, in z-units of the population, shape (k, d)."""
    return read_only([persona.position for persona in personas])


POSITIONS = positions(PERSONAS)

RENAMED = 1.25
"""Clusters are renamed if new names reduce the summed squared distance by more than this factor."""


def match(centroids_z: Floats, personas: Sequence[Persona]) -> tuple[str, ...]:
    """Name each cluster after a persona, minimizing the summed squared distance.

    Uses the Hungarian algorithm [1]_ on masked squared distances: each persona is used once.

    Parameters
    ----------
    centroids_z
        Centroids in z-units, one per persona, shape (k, d); NaN is unknown and ignored.
    personas
        k personas, each with a position of d features.

    Returns
    -------
    The persona id of each cluster.

    Raises
    ------
    ValueError
        If the shape does not match the personas.

    References
    ----------
    .. [1] Kuhn, H. W., 1955. The Hungarian method for the assignment problem. Naval Research
       Logistics Quarterly, 2(1-2), pp. 83-97.

    Examples
    --------
    >>> from livesegments.model.personas import PERSONAS, POSITIONS, match

    >>> match(POSITIONS[::-1], PERSONAS)[0]
    'high-value-customers'

    """
    at = positions(personas)
    if centroids_z.shape != at.shape:
        raise ValueError(
            f"the personas need centroids of shape {at.shape}, not {centroids_z.shape}"
        )
    cost = squared_distances(centroids_z, at, np.ones(at.shape[1]))
    return tuple(personas[column].id for column in _cheapest(cost).tolist())


def match_successors(
    new_z: Floats, old_z: Floats, segments: Sequence[str], personas: Sequence[Persona]
) -> tuple[str, ...]:
    """Name the clusters of a new fit after their predecessors, where the names still fit.

    The cost of a name is the squared distance to its old cluster plus that to its persona,
    minimized with the Hungarian algorithm. A cluster that stayed keeps its name, and one in a new
    place takes the name that fits best. After many small steps a kept name can be wrong: then
    `suitable` renames all clusters.

    Parameters
    ----------
    new_z, old_z
        Centroids after and before, shape (k, d), in the same z-units; NaN is unknown.
    segments
        Persona id of each old cluster.
    personas
        k personas with those ids, in any order.

    Returns
    -------
    The persona id of each new cluster.

    """
    ids = [persona.id for persona in personas]
    carrier = [list(segments).index(each) for each in ids]
    at = positions(personas)
    ones = np.ones(at.shape[1])
    old = np.nan_to_num(old_z)[carrier]
    cost = squared_distances(new_z, old, ones) + squared_distances(new_z, at, ones)
    kept = tuple(ids[column] for column in _cheapest(cost).tolist())
    return suitable(new_z, kept, personas)


def suitable(
    centroids_z: Floats, segments: Sequence[str], personas: Sequence[Persona]
) -> tuple[str, ...]:
    """Keep the names of clusters, or rename them if new names fit much better.

    Parameters
    ----------
    centroids_z
        Shape (k, d), in z-units; NaN is unknown and ignored.
    segments
        Persona id of each cluster.
    personas
        k personas with those ids, in any order.

    """
    cost = squared_distances(centroids_z, positions(personas), np.ones(centroids_z.shape[1]))
    row = {persona.id: i for i, persona in enumerate(personas)}
    fresh = match(centroids_z, personas)
    now, best = (
        sum(float(cost[cluster, row[name]]) for cluster, name in enumerate(names))
        for names in (segments, fresh)
    )
    return fresh if now > RENAMED * best else tuple(segments)


def _cheapest(cost: Floats) -> npt.NDArray[np.intp]:
    """Return the column of each row in the assignment with the lowest cost."""
    from scipy.optimize import linear_sum_assignment  # takes longer than all else to import

    return linear_sum_assignment(cost)[1]
