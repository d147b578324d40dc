"""One customer's rolling record and its feature vector: pure NumPy, no I/O, no clock.

`layout` cuts time into tiles, `record` is what is kept, `fold` and `erasures` change it, `window`
adds it up at a moment, and `catalogue` says what the features of the `vector` are. Every function
takes all customers of a batch at once.
"""

from livesegments.features.record_codec import (
    RecordFormatError,
    decode,
    empty,
    encode,
    may_be_profiled,
)
from livesegments.features.tiling import Tiling
from livesegments.features.vector import FEATURES, vectors
from livesegments.features.window import Window, window

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
