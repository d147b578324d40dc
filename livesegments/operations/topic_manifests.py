"""The topics as commands of Kafka and as manifests of Strimzi, for whoever creates them."""

import json
import re
import shlex
from collections.abc import Iterator, Sequence

from livesegments.contracts.topics import Topic

_STRIMZI = "kafka.strimzi.io/v1beta2"


def commands(
    wanted: Sequence[Topic], servers: str, partitions: int, replication_factor: int
) -> Iterator[str]:
    """Yield a ``kafka-topics.sh`` command for each topic."""
    for topic in wanted:
        configs = [part for pair in topic.config.items() for part in ("--config", "=".join(pair))]
        yield shlex.join(
            [
                *("kafka-topics.sh", "--bootstrap-server", servers, "--create", "--if-not-exists"),
                *("--topic", topic.name, "--partitions", str(partitions)),
                *("--replication-factor", str(replication_factor), *configs),
            ]
        )


def manifests(wanted: Sequence[Topic], partitions: int, replication_factor: int) -> Iterator[str]:
    """Yield a KafkaTopic of Strimzi for each topic, as a YAML document."""
    for topic in wanted:
        lines = [
            f"apiVersion: {_STRIMZI}",
            "kind: KafkaTopic",
            "metadata:",
            f"  name: {_resource_name(topic.name)}",
            "  labels:",
            "    strimzi.io/cluster: my-cluster # the name of your Kafka resource",
            "spec:",
            f"  topicName: {topic.name}",
            f"  partitions: {partitions}",
            f"  replicas: {replication_factor}",
            "  config:",
            *(f"    {name}: {json.dumps(value)}" for name, value in topic.config.items()),
        ]
        yield "\n".join(lines)


def _resource_name(topic: str) -> str:
    """Return a name that Kubernetes takes: lower-case letters, digits, - and dots between them."""
    name = re.sub(r"[^a-z0-9.]", "-", topic.lower())
    return ".".join(part.strip("-") for part in name.split(".") if part.strip("-"))
