"""The contenders: how each is started, how its progress is read, and how its output is checked."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis
from kafka import KafkaConsumer, TopicPartition

from bench.peers.install import java_program, python_program
from bench.peers.reference import Model, Purchases, counts, expected, read
from bench.throughput import PARTITIONS
from livesegments.app import processing_config
from livesegments.config.settings import Settings
from livesegments.contracts.topics import PURCHASES
from livesegments.features.record_codec import decode
from livesegments.store.keys import partition_keys
from tests.servers import KafkaServer, RedisServer


@dataclass(frozen=True, slots=True)
class Place:
    """Working directory and servers of a contender."""

    kafka: KafkaServer
    store: RedisServer
    folder: Path
    name: str
    """Name of its output topic and its consumer group."""
    group_offsets: KafkaConsumer
    """Client that reads the group's committed offsets."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The purchases of each partition, and the model for contenders that do not train their own."""

    purchases: Sequence[Purchases]
    model: Model


Offsets = Mapping[int, int]
Check = Callable[[Place, Truth, Offsets], str | None]
"""Returns the first fault in the output up to the offsets, or None."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of the table."""

    name: str
    guarantee: str
    command: Callable[[], list[str]]
    """Installs its requirements on first use."""
    check: Check
    committed: Callable[[Place], dict[int, int]]
    in_redis: bool = False
    """Its state is in Redis, and the memory counts as its own."""


def environment(place: Place, truth: Truth) -> dict[str, str]:
    """Return the environment of a contender."""
    return {
        "LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS": place.kafka.bootstrap,
        "LIVESEGMENTS_REDIS_URL": place.store.url,
        "LIVESEGMENTS_GROUP_ID": place.name,
        "LIVESEGMENTS_CLOCK": "event",
        "LIVESEGMENTS_HTTP_PORT": "0",
        "LIVESEGMENTS_LOG_LEVEL": "warning",
        "PEER_BOOTSTRAP": place.kafka.bootstrap,
        "PEER_REDIS": place.store.url,
        "PEER_INPUT": PURCHASES,
        "PEER_OUTPUT": place.name,
        "PEER_GROUP": place.name,
        "PEER_STATE": str(place.folder),
        **truth.model.environment(),
    }


def in_group(place: Place) -> dict[int, int]:
    """Return the offsets committed by its consumer group."""
    tps = {p: TopicPartition(PURCHASES, p) for p in range(PARTITIONS)}
    return {p: place.group_offsets.committed(tp) or 0 for p, tp in tps.items()}


def changes_are_exact(place: Place, truth: Truth, offsets: Offsets) -> str | None:
    """Compare each change on the output with the changes computed from the purchases."""
    wanted = expected(truth.purchases, truth.model, offsets)
    values = read(place.kafka.bootstrap, place.name, PARTITIONS)
    found = Counter(tuple(json.loads(value)) for partition in values for value in partition)
    missing, surplus = (wanted - found).total(), (found - wanted).total()
    if missing or surplus:
        return f"of {wanted.total():,} changes {missing:,} are missing, {surplus:,} too many"
    return None


def all_counted(counted: int, offsets: Offsets) -> str | None:
    """Compare the purchases counted in a store with those that were read."""
    read_ = sum(offsets.values())
    return None if counted == read_ else f"its records count {counted:,} of {read_:,} purchases"


def naive_counts(place: Place, _: Truth, offsets: Offsets) -> str | None:
    """Count the purchases in the hashes of the naive loop."""
    with redis.Redis.from_url(place.store.url) as client:
        pipe = client.pipeline(transaction=False)
        for key in client.scan_iter("customer:*", 10_000):
            pipe.hgetall(key)
        records = pipe.execute()
    counted = sum(int(n) for record in records for f, n in record.items() if f.startswith(b"n:"))
    return all_counted(counted, offsets)


def our_counts(place: Place, _: Truth, offsets: Offsets) -> str | None:
    """Count the purchases in our records."""
    group_id = place.name
    with redis.Redis.from_url(place.store.url) as client:
        blobs = [
            b
            for p in range(PARTITIONS)
            for b in client.hvals(partition_keys(group_id, p).customers)
        ]
    shape = processing_config(Settings()).record_shape
    return all_counted(int(decode(blobs, shape)["counts"].sum()), offsets)


def in_checkpoint(place: Place) -> dict[int, int]:
    """Return the offsets of Spark's last committed batch."""
    checkpoint = place.folder / "checkpoint"
    numbers = [int(path.name) for path in checkpoint.glob("commits/[0-9]*")]
    return _batch_end(checkpoint, max(numbers)) if numbers else {}


def _batch_end(checkpoint: Path, number: int) -> dict[int, int]:
    offsets = checkpoint / "offsets" / str(number)
    if not offsets.exists():
        return {}
    by_topic = json.loads(offsets.read_text().splitlines()[-1])
    return {int(partition): end for partition, end in by_topic[PURCHASES].items()}


def every_customer_is_told(place: Place, truth: Truth, offsets: Offsets) -> str | None:
    """Compare each customer's last published count with the purchases in the committed batches.

    The batch in progress at the stop may have been published in part.
    """
    checkpoint = place.folder / "checkpoint"
    last = max(int(path.name) for path in checkpoint.glob("offsets/[0-9]*"))
    told: Counter[str] = Counter()
    for values in read(place.kafka.bootstrap, place.name, PARTITIONS):
        for customer, purchases, _ in map(json.loads, values):
            told[customer] = max(told[customer], purchases)
    least, most = (
        counts(truth.purchases, offsets),
        counts(truth.purchases, _batch_end(checkpoint, last)),
    )
    wrong = sum(not least[name] <= told[name] <= most[name] for name in most.keys() | told.keys())
    return f"{wrong:,} of {len(most):,} customers are reported wrongly" if wrong else None


SPARK_OPTIONS = [
    # Its driver's default, and access to internals of newer Java (JavaModuleOptions in its
    # sources).
    "-Xmx1g",
    *(
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in (
            "java.lang",
            "java.lang.invoke",
            "java.lang.reflect",
            "java.io",
            "java.net",
            "java.nio",
            "java.util",
            "java.util.concurrent",
            "java.util.concurrent.atomic",
            "jdk.internal.ref",
            "sun.nio.ch",
            "sun.nio.cs",
            "sun.security.action",
            "sun.util.calendar",
        )
    ),
]

CONTENDERS = (
    Contender(
        "Livesegments",
        "exactly once",
        lambda: [sys.executable, "-m", "livesegments.cli", "run"],
        our_counts,
        in_group,
        in_redis=True,
    ),
    Contender(
        "Kafka Streams, 2 threads",
        "exactly once (v2)",
        lambda: java_program("kafka_streams", ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]),
        changes_are_exact,
        in_group,
    ),
    Contender(
        "Spark, streaming k-means of MLlib",
        "at least once",
        lambda: java_program("spark", SPARK_OPTIONS),
        every_customer_is_told,
        in_checkpoint,
    ),
    Contender(
        "Quix Streams",
        "exactly once",
        lambda: python_program("quix"),
        changes_are_exact,
        in_group,
    ),
    Contender(
        "naive loop with Redis and River",
        "at least once",
        lambda: python_program("naive"),
        naive_counts,
        in_group,
        in_redis=True,
    ),
)
