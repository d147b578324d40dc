"""Uncompress batches of records, so far as they do not fill the memory."""

import gzip
import io
from typing import Any

from kafka import codec

MOST_UNCOMPRESSED_BYTES = 256 * 1024 * 1024
"""Of a batch: gzip makes a thousand times as much of what a topic takes, and zstd far more."""

_PIECE_BYTES = 1024 * 1024


def gzip_decode(payload: Any) -> bytes:
    """Uncompress gzip; raises `ValueError` when it is too much."""
    with gzip.GzipFile(fileobj=io.BytesIO(payload)) as file:
        return _whole(file)


def zstd_decode(payload: bytes) -> bytes:
    """Uncompress Zstandard; raises `ValueError` when it is too much."""
    decompressor = codec.zstd.ZstdDecompressor()
    with decompressor.stream_reader(io.BytesIO(payload), read_across_frames=True) as file:
        return _whole(file)


def _whole(file: Any) -> bytes:
    """Return all of a file, if it is not too large."""
    pieces: list[bytes] = []
    size = 0
    while piece := file.read(_PIECE_BYTES):
        size += len(piece)
        if size > MOST_UNCOMPRESSED_BYTES:
            raise ValueError(size)
        pieces.append(piece)
    return b"".join(pieces)
