"""The published contract: up to date, AsyncAPI 3.0, complete, and with conforming examples."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from livesegments.contracts import asyncapi, schemas
from livesegments.contracts.schemas import MESSAGES, Message
from livesegments.contracts.topics import INPUTS, OUTPUTS, REPLAYS
from tests.livesegments.contracts.schemas import faults_of_headers, faults_of_key, faults_of_value

EXAMPLES = asyncapi.DOCS / "schemas" / "examples"


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((asyncapi.DOCS / "asyncapi.yaml").read_text())
    return document


def test_what_is_committed_is_what_the_models_say() -> None:
    made = dict(asyncapi.files())
    assert {
        path: (asyncapi.DOCS / path).read_text(encoding="utf-8") == text
        for path, text in made.items()
    } == dict.fromkeys(made, True), "run `make docs`"
    kept = {path.relative_to(asyncapi.DOCS) for path in (asyncapi.DOCS / "schemas").glob("*.json")}
    assert kept == {path for path in made if path.parts[0] == "schemas"}


def test_the_document_is_asyncapi_3(published: dict[str, Any]) -> None:
    schema = json.loads((Path(__file__).parent / "asyncapi-3.0.0.schema.json").read_text())
    assert [error.message for error in Draft7Validator(schema).iter_errors(published)] == []


def test_every_reference_leads_somewhere(published: dict[str, Any]) -> None:
    found = list(_references(published))
    assert len(found) > 40
    for reference in found:
        target: Any = published
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]


def test_every_topic_is_a_channel_whose_direction_is_ours(published: dict[str, Any]) -> None:
    directions = {
        operation["channel"]["$ref"].removeprefix("#/channels/"): operation["action"]
        for operation in published["operations"].values()
    }
    assert directions == {
        **dict.fromkeys(INPUTS, "receive"),
        **dict.fromkeys((*OUTPUTS, REPLAYS), "send"),
    }
    assert {channel["address"] for channel in published["channels"].values()} == set(directions)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.name)
def test_an_example_keeps_the_contract(message: Message, published: dict[str, Any]) -> None:
    example = json.loads((EXAMPLES / f"{message.name}.json").read_text())
    assert faults_of_key(message, example["key"]) == []
    assert faults_of_headers(message, example["headers"]) == []
    assert faults_of_value(message, example["value"]) == []
    [shown] = published["components"]["messages"][message.name]["examples"]
    assert shown.get("headers", {}) == example["headers"]
    assert shown["payload"] == example["value"]


def test_the_page_for_people_shows_every_example_that_has_a_value() -> None:
    page = (asyncapi.DOCS / "contracts.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"<!-- (?:headers and )?example: ([a-z-]+) -->", page))
    assert shown == {message.name for message in MESSAGES if not message.is_null}


@pytest.mark.parametrize(
    "message", [message for message in MESSAGES if message.model], ids=lambda each: each.name
)
def test_a_schema_file_stands_alone_and_says_the_same_as_the_document(message: Message) -> None:
    alone = schemas.standalone(message)
    assert {reference.removeprefix("#/$defs/") for reference in _references(alone)} == alone.get(
        "$defs", {}
    ).keys()
    payloads, shared = schemas.payloads()
    inside = shared[payloads[message.name]["$ref"].removeprefix("#/$defs/")]
    assert {name: alone[name] for name in inside} == inside


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for each in node.values():
            yield from _references(each)
    elif isinstance(node, list):
        for each in node:
            yield from _references(each)
