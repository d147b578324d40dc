"""Health check of a deployment and its dependencies, with a fix for each problem."""

from collections.abc import Callable, Iterator
from contextlib import closing

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError
from redis.exceptions import RedisError

from livesegments.config.clients import kafka_config, open_store
from livesegments.config.connectivity import ReachError, reach_kafka
from livesegments.config.error_messages import explain
from livesegments.config.settings import PREFIX, Settings
from livesegments.consumers.log_reader import LogReader, LogStalledError
from livesegments.consumers.modelling.definitions import named_by
from livesegments.consumers.modelling.global_model import DefinitionsReader
from livesegments.contracts.topics import (
    DEAD_LETTERS,
    ERASURES,
    FOR_GOOD,
    INPUTS,
    OUTPUTS,
    PROFILES,
    PURCHASES,
    PartitionCountError,
    check_partition_counts,
    topics,
)
from livesegments.operations.consumer_group import count_workers
from livesegments.operations.doctor.clocks import look_at_clocks
from livesegments.operations.doctor.finding import Finding, fail, ok, warn
from livesegments.operations.doctor.inputs import look_at_inputs
from livesegments.operations.doctor.outputs import look_at_outputs
from livesegments.operations.doctor.redis_server import look_at_redis
from livesegments.operations.topics import partition_counts, topic_configs
from livesegments.store.deployment import DEDUP_FORMAT, RECORD_FORMAT
from livesegments.topic_prefix import open_admin, open_consumer

DAY_MS = 86_400_000


def examine(settings: Settings) -> list[Finding]:
    """Check broker, topics, store, workers and model; a failure skips only dependent checks."""
    findings: list[Finding] = []
    for name, look, needs in _LOOKS:
        if needs & {each.name for each in findings if each.status == "fail"}:
            continue  # a prerequisite has already failed
        try:
            for finding in look(settings):
                findings.append(finding)  # noqa: PERF402 - findings before an error are kept
        except (ValueError, LogStalledError) as error:
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            fix = "find the producer that wrote it"
            if name in ("deployment", "progress", "clocks"):
                fix = (
                    "somebody else wrote to Redis: stop all workers, delete the keys that begin"
                    f" with {settings.group_id}: and start them: they rebuild it from Kafka"
                )
            findings.append(fail(name, f"cannot be read: {why}", fix))
        except (KafkaError, RedisError, ReachError, OSError) as error:
            findings.append(_unreachable(name, settings, error))
    return findings


def _unreachable(name: str, settings: Settings, error: Exception) -> Finding:
    where = (
        f"{PREFIX}REDIS_URL"
        if isinstance(error, RedisError)
        else f"{PREFIX}KAFKA_BOOTSTRAP_SERVERS={settings.kafka_bootstrap_servers}"
    )
    fix = f"fix the cause, start the server, or correct {where}"
    return fail(name, explain(error, settings), fix)


def _kafka(settings: Settings) -> Iterator[Finding]:
    reach_kafka(settings)
    config = kafka_config(settings, 5.0)
    with open_consumer(KafkaConsumer, **config, enable_auto_commit=False) as consumer:
        version = ".".join(map(str, consumer.config["api_version"]))
        yield ok("kafka", f"version {version} at {settings.kafka_bootstrap_servers}")
    counts = partition_counts(config)
    try:
        partitions = check_partition_counts(counts, settings.topic_prefix)
    except PartitionCountError as error:
        count = "docs/operations.md, Settings, says how to change the number of partitions"
        missing = not all(counts.values())
        yield fail("topics", str(error), "livesegments topics create" if missing else count)
        return
    yield ok("topics", f"all there, {partitions} partitions each")
    with open_admin(**config) as admin:
        yield from _replication(admin)
        yield from _topic_configs(admin, settings)
        workers = count_workers(admin, settings.group_id)
    told = f"{workers or 'none'} in group {settings.group_id}"
    yield ok("workers", told) if workers else warn("workers", told, "start one: livesegments run")


def _replication(admin: KafkaAdminClient) -> Iterator[Finding]:
    copies = {
        topic["name"]: min(len(each["replica_nodes"]) for each in topic["partitions"])
        for topic in admin.describe_topics([*INPUTS, *OUTPUTS])
    }
    single = sorted(name for name, count in copies.items() if count < 2)
    if not single:
        yield ok("replication", f"{min(copies.values())} copies or more of each topic")
        return
    names = "every topic" if len(single) == len(copies) else ", ".join(single)
    yield warn(
        "replication",
        f"only 1 copy of {names}: it is lost with its broker's disk",
        "have 3 in production: raise it with kafka-reassign-partitions.sh",
    )


def _topic_configs(admin: KafkaAdminClient, settings: Settings) -> Iterator[Finding]:
    wanted = {topic.name: topic.config for topic in topics()}
    found = topic_configs(admin, wanted)
    for name, config in wanted.items():
        policy = found.get(name, {}).get("cleanup.policy")
        if policy is None:  # the client returns nothing where the broker returns an error
            yield warn(
                f"topic {name}",
                "its configuration cannot be read",
                "allow DescribeConfigs on it; if it does not exist: livesegments topics create",
            )
            continue
        if policy != config["cleanup.policy"]:
            yield fail(
                f"topic {name}",
                f"cleanup.policy is {policy}",
                f"set it to {config['cleanup.policy']}: state or history is lost otherwise",
            )
    kept_ms = int(found.get(PURCHASES, {}).get("retention.ms", FOR_GOOD))
    if 0 <= kept_ms < settings.window_days * DAY_MS:
        yield warn(
            f"topic {PURCHASES}",
            f"keeps {kept_ms / DAY_MS:.0f} days, the window is {settings.window_days}",
            "raise its retention.ms: a lost store could not be rebuilt",
        )
    if (kept := found.get(ERASURES, {}).get("retention.ms", FOR_GOOD)) != FOR_GOOD:
        yield warn(
            f"topic {ERASURES}",
            f"keeps {int(kept) / DAY_MS:.0f} days",
            f"set its retention.ms to {FOR_GOOD}: a rebuilt store would not know the suppressed"
            " customers",
        )
    for name in (PURCHASES, ERASURES):
        if (size := found.get(name, {}).get("retention.bytes", FOR_GOOD)) != FOR_GOOD:
            yield warn(
                f"topic {name}",
                f"keeps {size} bytes of each partition, however new the rest is",
                f"set its retention.bytes to {FOR_GOOD}: a lost store could not be rebuilt",
            )
    largest = wanted[DEAD_LETTERS]["max.message.bytes"]
    if (taken := int(found.get(DEAD_LETTERS, {}).get("max.message.bytes", largest))) < int(largest):
        yield warn(
            f"topic {DEAD_LETTERS}",
            f"takes records of {taken} bytes",
            f"set its max.message.bytes to {largest}: a dead letter is larger than its record",
        )


def _deployment(settings: Settings) -> Iterator[Finding]:
    store = open_store(settings)
    agreed = store.deployment()
    if agreed is None:
        yield warn("deployment", "no worker has ever run in this group", "livesegments run")
        return
    segmentation = settings.read_segmentation()
    ids, features = segmentation.segment_ids, segmentation.feature_names
    if agreed.segments != ids:
        yield fail(
            "deployment",
            f"segments are {', '.join(ids)} here and {', '.join(agreed.segments)} in the store",
            f"set their ids back, in that order ({PREFIX}SEGMENTATION)",
        )
    if agreed.features != features:
        yield fail(
            "deployment",
            f"features are {', '.join(features)} here and {', '.join(agreed.features)} in the"
            " store",
            f"set them back ({PREFIX}SEGMENTATION), or rebuild the store with them: livesegments"
            " rebuild",
        )
    if (agreed.dedup_format, agreed.record_format) != (DEDUP_FORMAT, RECORD_FORMAT):
        yield fail(
            "deployment",
            "the store is from an earlier version, with other formats",
            "stop all workers, then: livesegments rebuild",
        )
    fixed = ("topic_prefix", "window_days", "tiles", "currency", "dedup_events", "consent")
    for name in (*fixed, "partitioner", "clock"):
        here, there = getattr(settings, name), getattr(agreed, name)
        told = f"{PREFIX}{name.upper()} is {here} here and {there} in the store"
        if (name, there, here) == ("clock", "event", "wall"):
            yield warn("deployment", told, "set it back, or stop all workers and start them so")
        elif here != there:
            fix = "set it back, or rebuild the store with it: livesegments rebuild"
            yield fail("deployment", told, fix)


def _progress(settings: Settings) -> Iterator[Finding]:
    store = open_store(settings)
    agreed = store.deployment()
    if agreed is None:
        return
    config = kafka_config(settings, 5.0)
    partitions = partition_counts(config)[PURCHASES]
    if partitions != agreed.partitions:
        yield fail(
            "deployment",
            f"the topics have {partitions} partitions and the store {agreed.partitions}",
            "customers are in other partitions now: copy the inputs by key to new topics, create"
            " the output topics again, and use another GROUP_ID",
        )
        return
    numbers = range(agreed.partitions)
    checkpoints = store.checkpoints(numbers)
    with LogReader(config) as log:
        yield from look_at_outputs(settings, store, agreed, checkpoints, log)
        folded: dict[TopicPartition, int] = {}
        for partition, progress in enumerate(checkpoints):
            offsets = progress.offsets if progress else (0, 0, 0)
            folded |= {
                TopicPartition(t, partition): o for t, o in zip(INPUTS, offsets, strict=True)
            }
            if progress and progress.recovering:
                yield warn(f"partition {partition}", "a recovery is under way", "wait for its end")
        behind = log.count_from(folded)
    customers = sum(store.sizes(numbers))
    yield ok("progress", f"{customers} customers, {behind} input records to go")


def _model(settings: Settings) -> Iterator[Finding]:
    segmentation = settings.read_segmentation()
    config = kafka_config(settings, 5.0)
    with closing(DefinitionsReader(config, segmentation)) as reader:
        generation = reader.generation
    if generation is None:
        yield warn(
            "model",
            "no generation yet",
            f"it comes when {settings.warmup_customers} customers have bought in the last"
            f" {settings.window_days} days ({PREFIX}WARMUP_CUSTOMERS) and not all of them the same"
            + (f"; history counts with {PREFIX}CLOCK=event" if settings.clock == "wall" else ""),
        )
        return
    yield ok("model", f"generation {generation.number}")
    features = segmentation.feature_names
    known = set().union(*named_by(generation, features).values())
    unknown = [feature for feature in features if feature not in known]
    if unknown:
        yield warn(
            "segment names",
            f"rest on {', '.join(sorted(known, key=features.index))} alone: {', '.join(unknown)}"
            " of no customer was known at the fit, or the same of all",
            f"send profiles to {PROFILES}, or take names that say no more than that"
            f" ({PREFIX}SEGMENTATION)",
        )


_LOOKS: tuple[tuple[str, Callable[[Settings], Iterator[Finding]], frozenset[str]], ...] = (
    ("kafka", _kafka, frozenset()),
    ("redis", look_at_redis, frozenset()),
    ("deployment", _deployment, frozenset({"redis"})),
    ("progress", _progress, frozenset({"kafka", "topics", "redis"})),
    ("clocks", look_at_clocks, frozenset({"kafka", "topics", "redis"})),
    ("inputs", look_at_inputs, frozenset({"kafka", "topics", "redis"})),
    ("model", _model, frozenset({"kafka", "topics"})),
)
"""Name, check, and the findings that it depends on."""
