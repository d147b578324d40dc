"""Keys and values without a schema registry."""

from typing import Any

import pytest

from livesegments.ingest.decoding import Decoder
from livesegments.ingest.definitions import Source


def decoder(**formats: str) -> Decoder:
    fields: dict[str, Any] = {
        "name": "s",
        "topic": "t",
        "into": "purchases",
        "query": "q",
        **formats,
    }
    return Decoder(Source.model_validate(fields), None)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'{"a":1}', '{"a":1}'),
        (b"\xef\xbb\xbf{}", "{}"),
        (b"\0\0\0\0\x07{}", "{}"),
        (b"", ""),
        (None, None),
    ],
)
def test_json_loses_its_byte_order_mark_and_its_prefix(
    data: bytes | None, text: str | None
) -> None:
    assert decoder().values([data]) == ([text], {})


def test_what_is_not_text_is_a_fault() -> None:
    assert decoder().values([b"\xff", b"{}"]) == ([None, "{}"], {0: "is not UTF-8 text"})


def test_keys_are_text_whatever_they_are() -> None:
    assert decoder().keys([b"k", None, b"\xffk"]) == ["k", None, "\\xffk"]
    assert decoder(key_format="int64").keys([b"\0\0\0\0\0\0\0\x2a", b"42"]) == ["42", "42"]
    assert decoder(key_format="string").keys([b"\xef\xbb\xbfk"]) == ["k"]
