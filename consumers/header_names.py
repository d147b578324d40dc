r"""Read records whose header names are not UTF-8, as Java's clients do.

A header name may be any bytes. kafka-python decodes it strictly, so that one such record would hold
its partition up for ever: `poll` raises, and the next one does not return. To import this module is
to have every consumer of the process read such bytes as ``\xff``; the record is then like any
other. A test pins what of kafka-python it rests on.
"""

from typing import Any

from kafka.record import memory_records
from kafka.record.default_records import DefaultRecordBatch


class _Lenient:
    """A batch's bytes, whose slices decode whatever they hold."""

    __slots__ = ("_buffer",)

    def __init__(self, buffer: bytearray) -> None:
        self._buffer = buffer

    def __getitem__(self, at: Any) -> Any:
        found = self._buffer[at]
        return found if isinstance(found, int) else _AnyBytes(found)


class _AnyBytes(bytes):
    """Bytes that decode as text whatever they are."""

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)


class AnyHeaderNames(DefaultRecordBatch):  # type: ignore[misc]
    """A batch of records that may have any bytes as header names."""

    __slots__ = ()
    _buffer: Any

    def _read_msg(self) -> Any:
        try:
            return super()._read_msg()
        except UnicodeDecodeError:
            # Nothing has been consumed: the position moves only when a record is whole.
            strict = self._buffer
            self._buffer = _Lenient(strict)
            try:
                return super()._read_msg()
            finally:
                self._buffer = strict


memory_records.DefaultRecordBatch = AnyHeaderNames
