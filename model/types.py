"""Names for the array types that travel through the model."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = npt.NDArray[np.int64]
Vectors: TypeAlias = npt.NDArray[np.int32]
Clusters: TypeAlias = npt.NDArray[np.int8]
Flags: TypeAlias = npt.NDArray[np.bool_]

NOWHERE = -1
"""The cluster of a customer who is in none."""


def read_only(values: npt.ArrayLike) -> Floats:
    """Copy `values` to an array that nobody can change."""
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array
