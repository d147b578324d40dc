"""One customer's rolling record and its feature vector: pure NumPy, no I/O, no clock."""

from features.layout import Layout
from features.record import RecordFormatError, decode, empty, encode, may_be_profiled
from features.vector import FEATURES, vectors
from features.window import Window, window

__all__ = [
    "FEATURES",
    "Layout",
    "RecordFormatError",
    "Window",
    "decode",
    "empty",
    "encode",
    "may_be_profiled",
    "vectors",
    "window",
]
