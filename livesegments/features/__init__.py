"""Rolling customer records and feature vectors: pure NumPy, without I/O or clock.

`window` divides time into tiles and `record_codec` defines the records. `aggregate` and `erasures`
update them, `window` sums them up, and `feature_specs` defines the features of the vector. `dedup`
remembers event ids. Every function processes all customers of a batch at once.
"""

from livesegments.features.feature_specs import FEATURES, vectors
from livesegments.features.record_codec import (
    RecordFormatError,
    decode,
    empty,
    encode,
    may_be_profiled,
)
from livesegments.features.window import Tiling, Window, window

__all__ = [
    "FEATURES",
    "RecordFormatError",
    "Tiling",
    "Window",
    "decode",
    "empty",
    "encode",
    "may_be_profiled",
    "vectors",
    "window",
]
