from typing import Any

import pytest
from pydantic import TypeAdapter

from livesegments.contracts.events import CUSTOMER_PROFILE, ERASURE, PURCHASE
from tests.livesegments.contracts.records import erasure, profile, purchase


@pytest.mark.parametrize(
    ("adapter", "required"),
    [(PURCHASE, purchase(kind=...)), (CUSTOMER_PROFILE, profile()), (ERASURE, erasure())],
)
def test_the_schema_that_validates_is_the_one_that_is_published(
    adapter: TypeAdapter[Any], required: dict[str, Any]
) -> None:
    schema = adapter.json_schema()
    assert set(schema["required"]) == set(required)
    times = [
        name for name, field in schema["properties"].items() if field.get("format") == "date-time"
    ]
    assert len(times) == 1
    assert schema["properties"]["customer_id"]["maxLength"] == 128


def test_an_amount_is_published_as_number_or_decimal_string() -> None:
    members = PURCHASE.json_schema()["properties"]["amount"]["anyOf"]
    assert [member["type"] for member in members] == ["number", "string"]
    assert members[0]["minimum"] == 0
