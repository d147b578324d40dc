"""Conversions between River's dictionaries or data frames and the model's arrays.

Values are clipped to plus and minus `LIMIT`; missing values and None become NaN.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from livesegments.model.vectors import LIMIT, Floats

if TYPE_CHECKING:  # pandas takes longer to import than everything else
    import pandas as pd

Row: TypeAlias = frozenset[tuple[Hashable, float]]
"""Known values of a row by feature, hashable."""


def ordered(names: Iterable[Any]) -> list[Any]:
    """Sort feature names, first by type, since names of different types do not compare."""
    return sorted(names, key=lambda name: (type(name).__name__, name))


def from_dicts(rows: Sequence[Mapping[Any, Any]], features: Sequence[Any]) -> Floats:
    """Convert dictionaries to an array of shape (n, d), one column per feature."""
    X = np.full((len(rows), len(features)), np.nan)
    for line, row in enumerate(rows):
        for column, name in enumerate(features):
            if (value := row.get(name)) is not None:
                X[line, column] = value
    return np.asarray(np.clip(X, -LIMIT, LIMIT))


def from_frame(X: pd.DataFrame, features: Sequence[Any]) -> Floats:
    """Convert a data frame to an array of shape (n, d), one column per feature."""
    values = X.reindex(columns=list(features)).to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(np.clip(values, -LIMIT, LIMIT))


def to_series(clusters: npt.NDArray[np.int64], X: pd.DataFrame) -> pd.Series[int]:
    """Convert clusters to a series with the index of the data frame."""
    import pandas as pd

    return pd.Series(clusters, index=X.index, name="cluster")


def to_rows(X: Floats, features: Sequence[Any]) -> list[Row]:
    """Convert an array to the known values of each row, by feature."""
    known = ~np.isnan(X)
    return [
        frozenset((features[i], X[line, i].item()) for i in np.flatnonzero(known[line]).tolist())
        for line in range(len(X))
    ]
