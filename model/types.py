"""Array types of the model."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = npt.NDArray[np.int64]
Vectors: TypeAlias = npt.NDArray[np.int32]
Clusters: TypeAlias = npt.NDArray[np.int8]
Flags: TypeAlias = npt.NDArray[np.bool_]

NOWHERE = -1
"""Cluster of a row without a cluster."""


def read_only(values: npt.ArrayLike) -> Floats:
    """Copy `values` to a read-only array."""
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array
