"""Decompression of record batches with a size limit."""

import gzip
import io
from typing import Any

from kafka import codec
from kafka.record.default_records import DefaultRecordBatch

MOST_UNCOMPRESSED_BYTES = 256 * 1024 * 1024
"""Maximum of a batch: gzip expands up to a thousandfold, Zstandard far more."""

_PIECE_BYTES = 1024 * 1024


def uncompress(batch: Any) -> None:
    """Decompress a batch of a codec that can expand a few bytes to any size; leave others as is.

    Raises
    ------
    UnsupportedCodecError
        If the codec is not installed.
    ValueError
        If the batch exceeds the size limit; other errors if it is malformed.
    """
    decode = _DECODERS.get(batch.compression_type)
    if decode is not None and not batch._decompressed:
        batch._assert_has_codec(batch.compression_type)
        batch._buffer = bytearray(decode(memoryview(batch._buffer)[batch._pos :]))
        batch._pos, batch._decompressed = 0, True


def _gzip_decode(payload: memoryview) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(payload)) as file:
        return _whole(file)


def _zstd_decode(payload: memoryview) -> bytes:
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


_DECODERS = {
    DefaultRecordBatch.CODEC_GZIP: _gzip_decode,
    DefaultRecordBatch.CODEC_ZSTD: _zstd_decode,
}
