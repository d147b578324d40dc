"""Segments as marketing defines them, and the naming of clusters after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from livesegments.model.vectors import Floats, read_only, squared_distances


@dataclass(frozen=True, slots=True)
class Segment:
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
        Expected position of the segment, in z-units of the population, one number per feature.

    """

    id: str
    name: str
    description: str
    position: tuple[float, ...]


def positions(segments: Sequence[Segment]) -> Floats:
    """Expected positions of segments, in z-units of the population, shape (k, d)."""
    return read_only([segment.position for segment in segments])


RENAMED = 1.25
"""Clusters are renamed if new names reduce the summed squared distance by more than this factor."""


def match(centroids_z: Floats, segments: Sequence[Segment]) -> tuple[str, ...]:
    """Name each cluster after a segment, minimizing the summed squared distance.

    Uses the Hungarian algorithm [1]_ on masked squared distances: each segment is used once.

    Parameters
    ----------
    centroids_z
        Centroids in z-units, one per segment, shape (k, d); NaN is unknown and ignored.
    segments
        k segments, each with a position of d features.

    Returns
    -------
    The segment id of each cluster.

    Raises
    ------
    ValueError
        If the shape does not match the segments.

    References
    ----------
    .. [1] Kuhn, H. W., 1955. The Hungarian method for the assignment problem. Naval Research
       Logistics Quarterly, 2(1-2), pp. 83-97.

    Examples
    --------
    >>> import numpy as np
    >>> from livesegments.model.naming import Segment, match

    >>> students = Segment("students", "Students", "", position=(0.4, -1.3))
    >>> retirees = Segment("retirees", "Retirees", "", position=(-1.0, 1.5))
    >>> match(np.array([[-0.8, 1.1], [0.2, -0.9]]), [students, retirees])
    ('retirees', 'students')

    """
    at = positions(segments)
    if centroids_z.shape != at.shape:
        raise ValueError(
            f"the segments need centroids of shape {at.shape}, not {centroids_z.shape}"
        )
    cost = squared_distances(centroids_z, at, np.ones(at.shape[1]))
    return tuple(segments[column].id for column in _cheapest(cost).tolist())


def match_successors(
    new_z: Floats, old_z: Floats, names: Sequence[str], segments: Sequence[Segment]
) -> tuple[str, ...]:
    """Name the clusters of a new fit after their predecessors, where the names still fit.

    The cost of a name is the squared distance to its old cluster plus that to its segment's
    position, minimized with the Hungarian algorithm. A cluster that stayed keeps its name, and one
    in a new place takes the name that fits best. After many small steps a kept name can be wrong:
    then `suitable` renames all clusters.

    Parameters
    ----------
    new_z, old_z
        Centroids after and before, shape (k, d), in the same z-units; NaN is unknown.
    names
        Segment id of each old cluster.
    segments
        k segments with those ids, in any order.

    Returns
    -------
    The segment id of each new cluster.

    """
    ids = [segment.id for segment in segments]
    carrier = [list(names).index(each) for each in ids]
    at = positions(segments)
    ones = np.ones(at.shape[1])
    old = np.nan_to_num(old_z)[carrier]
    cost = squared_distances(new_z, old, ones) + squared_distances(new_z, at, ones)
    kept = tuple(ids[column] for column in _cheapest(cost).tolist())
    return suitable(new_z, kept, segments)


def suitable(
    centroids_z: Floats, names: Sequence[str], segments: Sequence[Segment]
) -> tuple[str, ...]:
    """Keep the names of clusters, or rename them if new names fit much better.

    Parameters
    ----------
    centroids_z
        Shape (k, d), in z-units; NaN is unknown and ignored.
    names
        Segment id of each cluster.
    segments
        k segments with those ids, in any order.

    """
    cost = squared_distances(centroids_z, positions(segments), np.ones(centroids_z.shape[1]))
    row = {segment.id: i for i, segment in enumerate(segments)}
    fresh = match(centroids_z, segments)
    now, best = (
        sum(float(cost[cluster, row[name]]) for cluster, name in enumerate(chosen))
        for chosen in (names, fresh)
    )
    return fresh if now > RENAMED * best else tuple(names)


def _cheapest(cost: Floats) -> npt.NDArray[np.intp]:
    """Return the column of each row in the assignment with the lowest cost."""
    from scipy.optimize import linear_sum_assignment  # takes longer than all else to import

    return linear_sum_assignment(cost)[1]
