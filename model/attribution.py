"""Attribution of a row's move between clusters: to its features, and to the model itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from livesegments.model.snapshot import ModelSnapshot
from livesegments.model.vectors import Floats

Halves = npt.NDArray[np.float16]
_MOST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """Parts of the moves of m rows, in squared standard deviations.

    With gap(x) = squared distance to the cluster that a row leaves, less that to the one it enters,
    the parts of a row add up to gap(now) - gap(then), each gap by the model of its time.

    Attributes
    ----------
    features
        Part of each feature, shape (m, d): its part of gap(now) - gap(then), both by the model of
        now. 0 for a feature whose value is the same.
    model
        Part of the model, shape (m,): gap(then) by the model of now, less by the model of then. NaN
        where the row's earlier place is unknown; the features then add up to gap(now).

    """

    features: Floats
    model: Floats


def gap_parts(
    X: Floats,
    left: npt.NDArray[np.integer],
    entered: npt.NDArray[np.integer],
    snapshot: ModelSnapshot,
) -> Floats:
    """Split gaps between two clusters by feature.

    Parameters
    ----------
    X
        Rows, shape (..., d), in feature units; NaN is unknown and has no part.
    left, entered
        The two clusters of each row, shape (...).
    snapshot
        Centroids and scale.

    Returns
    -------
    Shape (..., d), in squared standard deviations: the squared distance to the cluster ``left``,
    less that to the cluster ``entered``.

    """
    near, far = snapshot.centroids[entered], snapshot.centroids[left]
    parts = snapshot.weights * ((X - far) ** 2 - (X - near) ** 2)
    return np.where(np.isnan(X), 0.0, parts)


def gaps_from(X: Floats, own: npt.NDArray[np.integer], snapshot: ModelSnapshot) -> Halves:
    """Return the gap from each row's own cluster to every cluster, rounded to be remembered.

    Parameters
    ----------
    X
        Rows, shape (n, d), in feature units; NaN is unknown.
    own
        The cluster of each row, shape (n,).
    snapshot
        Centroids and scale.

    Returns
    -------
    Float16, shape (n, k); 0 for the own cluster, and negative for those farther away.

    """
    clusters = np.arange(len(snapshot.centroids))
    return _rounded(gap_parts(X[:, None], own[:, None], clusters[None], snapshot).sum(axis=-1))


def attribute(
    now: Floats,
    then: Floats,
    left: npt.NDArray[np.integer],
    entered: npt.NDArray[np.integer],
    remembered: Halves,
    snapshot: ModelSnapshot,
) -> Attribution:
    """Attribute the moves of m rows to features and to the model.

    Parameters
    ----------
    now, then
        The rows as they are and as they were, shape (m, d), in feature units; NaN is unknown.
    left, entered
        The clusters that each row leaves and enters, shape (m,).
    remembered
        Gap between the two of each row then, by the model of then, as from `gaps_from`, shape (m,);
        NaN where the earlier place is unknown, and ``then`` is not used.
    snapshot
        Centroids and scale now.

    Examples
    --------
    A row moves from 1 to 3 while the centroid of the cluster that it enters comes nearer.

    >>> import numpy as np
    >>> from livesegments.model.attribution import attribute, gaps_from
    >>> from livesegments.model.snapshot import ModelSnapshot

    >>> def snapshot(*places):
    ...     return ModelSnapshot(np.array(places)[:, None], *(np.ones(1),) * 3)
    >>> before, after = np.array([[1.0]]), np.array([[3.0]])
    >>> remembered = gaps_from(before, np.array([0]), snapshot(0.0, 6.0))
    >>> remembered.tolist()
    [[0.0, -24.0]]
    >>> parts = attribute(
    ...     after, before, np.array([0]), np.array([1]), remembered[:, 1], snapshot(0.0, 5.0)
    ... )
    >>> parts.features.tolist(), parts.model.tolist()
    ([[20.0]], [9.0])

    """
    known = ~np.isnan(remembered)
    before = np.where(known[:, None], gap_parts(then, left, entered, snapshot), 0.0)
    # Rounded like the remembered gap, so that a model that did not move has no part.
    moved = _rounded(before.sum(axis=-1)).astype(np.float64) - remembered
    return Attribution(
        features=gap_parts(now, left, entered, snapshot) - before,
        model=np.where(known, moved, np.nan),
    )


def _rounded(gaps: Floats) -> Halves:
    return np.clip(gaps, -_MOST, _MOST).astype(np.float16)
