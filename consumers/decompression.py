"""Decompression of record batches with a size limit."""

import gzip
import io
from typing import Any

from kafka import codec

MOST_UNCOMPRESSED_BYTES = 256 * 1024 * 1024
"""Maximum of a batch: gzip expands up to a thousandfold, Zstandard far more."""

_PIECE_BYTES = 1024 * 1024


def gzip_decode(payload: Any) -> bytes:
    """Decompress gzip; raises `ValueError` above the size limit."""
    with gzip.GzipFile(fileobj=io.BytesIO(payload)) as file:
        return _whole(file)


def zstd_decode(payload: bytes) -> bytes:
    """Decompress Zstandard; raises `ValueError` above the size limit."""
    decompressor = codec.zstd.ZstdDecompressor()
    with decompressor.stream_reader(io.BytesIO(payload), read_across_frames=True) as file:
        return _whole(file)


def _whole(file: Any) -> bytes:
    """Read a whole file, up to the size limit."""
    pieces: list[bytes] = []
    size = 0
    while piece := file.read(_PIECE_BYTES):
        size += len(piece)
        if size > MOST_UNCOMPRESSED_BYTES:
            raise ValueError(size)
        pieces.append(piece)
    return b"".join(pieces)
