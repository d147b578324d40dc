"""Write the published contract: ``docs/asyncapi.yaml`` and ``docs/schemas``.

``python -m livesegments.contracts.asyncapi`` writes both from the models, with the examples in
``docs/schemas/examples``, which are records of a real run, and puts these into
``docs/contracts.md``.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from livesegments.contracts import schemas
from livesegments.contracts.schemas import MESSAGES, Message
from livesegments.contracts.topics import INPUTS, Topic, topics

VERSION = "1.2.0"
"""Of the contract. An addition raises the second number; what breaks readers is a new topic."""

DOCS = Path(__file__).resolve().parents[2] / "docs"

_KAFKA_BINDING = "0.5.0"
_EXAMPLE_IN_PAGE = re.compile(
    r"(?P<before><!-- (?P<headers>headers and )?example: (?P<name>[a-z-]+) -->\n```\w+\n).*?```",
    re.DOTALL,
)
_DESCRIPTION = """\
Keeps every customer in the right marketing segment, seconds after the purchase that
moved them.

Unknown fields are ignored, on both sides: additions stay in these topics, and a change that breaks
readers is a new topic. All topics have the same number of partitions, and the records of one
customer have the same partition number in each. What goes out is written in transactions: a reader
with `isolation.level=read_committed` sees every change once, in order.
"""


def document() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document."""
    payloads, components = schemas.payloads("#/components/schemas/{model}")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Livesegments",
            "version": VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": "{broker}",
                "protocol": "kafka",
                "description": "Any Apache Kafka from 2.5 on",
                "variables": {"broker": {"default": "localhost:9092"}},
            }
        },
        "channels": {topic.name: _channel(topic) for topic in topics()},
        "operations": {
            f"{'receive' if topic.name in INPUTS else 'send'}-{topic.name}": _operation(topic)
            for topic in topics()
        },
        "components": {
            "messages": {
                message.name: _message(message, payloads[message.name]) for message in MESSAGES
            },
            "schemas": components,
        },
    }


def files() -> Iterator[tuple[Path, str]]:
    """Yield the path below ``docs`` and the text of each file."""
    import yaml

    class Plain(yaml.SafeDumper):  # type: ignore[misc]
        """Without anchors, which not every reader of AsyncAPI knows; long texts as they are."""

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - that of yaml
            return True

        def represent_str(self, data: str) -> Any:
            style = "|" if "\n" in data else None
            return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    Plain.add_representer(str, Plain.represent_str)
    text = yaml.dump(document(), Dumper=Plain, sort_keys=False, allow_unicode=True, width=100)
    yield (
        Path("asyncapi.yaml"),
        "# Made by `make docs` from livesegments/contracts/: do not edit.\n" + text,
    )
    for message in MESSAGES:
        if message.model is not None:
            schema = json.dumps(schemas.standalone(message), indent=2, ensure_ascii=False)
            yield Path("schemas") / f"{message.name}.json", schema + "\n"
    page = (DOCS / "contracts.md").read_text(encoding="utf-8")
    yield Path("contracts.md"), _EXAMPLE_IN_PAGE.sub(_shown, page)


def _shown(found: re.Match[str]) -> str:
    recorded = _recorded(found["name"])
    parts = [_line_by_line(recorded["value"])] if recorded["value"] else []
    if found["headers"]:
        parts.insert(0, _line_by_line(recorded["headers"]))
    return f"{found['before']}{chr(10).join(parts)}\n```"


def _line_by_line(value: Any) -> str:
    """Return JSON with a line for each field, and for each part of one that would be too long."""
    if not isinstance(value, dict):
        return str(value)
    return _lines(value, "  ")


def _lines(value: Any, indent: str) -> str:
    text = json.dumps(value)
    listed = isinstance(value, list) and bool(value) and isinstance(value[0], dict)
    if isinstance(value, dict) and (len(indent) == 2 or len(text) > 100):
        parts = [
            f"{json.dumps(name)}: {_lines(each, indent + '  ')}" for name, each in value.items()
        ]
        opened, closed = "{}"
    elif listed and len(text) > 100:
        parts, (opened, closed) = [json.dumps(each) for each in value], "[]"
    else:
        return text
    joined = f",\n{indent}".join(parts)
    return f"{opened}\n{indent}{joined}\n{indent[2:]}{closed}"


def _recorded(name: str) -> dict[str, Any]:
    text = (DOCS / "schemas" / "examples" / f"{name}.json").read_text(encoding="utf-8")
    recorded: dict[str, Any] = json.loads(text)
    return recorded


def _channel(topic: Topic) -> dict[str, Any]:
    config: dict[str, Any] = {
        name: int(value) if value.removeprefix("-").isdigit() else value
        for name, value in topic.config.items()
    }
    return {
        "address": topic.name,
        "description": topic.description,
        "messages": {
            message.name: {"$ref": f"#/components/messages/{message.name}"}
            for message in MESSAGES
            if message.topic == topic.name
        },
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "topicConfiguration": {**config, "cleanup.policy": [config["cleanup.policy"]]},
                "bindingVersion": _KAFKA_BINDING,
            }
        },
    }


def _operation(topic: Topic) -> dict[str, Any]:
    channel = f"#/channels/{topic.name}"
    return {
        "action": "receive" if topic.name in INPUTS else "send",
        "channel": {"$ref": channel},
        "summary": topic.description,
        "messages": [
            {"$ref": f"{channel}/messages/{message.name}"}
            for message in MESSAGES
            if message.topic == topic.name
        ],
    }


def _message(message: Message, payload: schemas.Schema) -> dict[str, Any]:
    recorded = _recorded(message.name)
    headers = schemas.headers(message)
    return {
        "title": message.title,
        "summary": message.summary,
        "contentType": "application/json" if message.model else "application/octet-stream",
        **({"headers": headers} if headers else {}),
        "payload": payload,
        "bindings": {"kafka": {"key": schemas.key(message), "bindingVersion": _KAFKA_BINDING}},
        "examples": [
            {
                "summary": f"From a run; its key is {recorded['key']}",
                **({"headers": recorded["headers"]} if headers else {}),
                "payload": recorded["value"],
            }
        ],
    }


def main() -> None:
    """Write the files."""
    for path, text in files():
        target = DOCS / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
