"""Preparation of sources before they run or are rehearsed: their queries, topics and samples."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.config.clients import kafka_config
from livesegments.config.settings import Settings
from livesegments.consumers.log_reader import LogReader
from livesegments.consumers.polling import ROUND_BYTES
from livesegments.contracts.topics import DEAD_LETTERS, check_partition_counts
from livesegments.ingest.definitions import Source, Sources, SourcesError
from livesegments.ingest.registry import SchemaRegistry
from livesegments.ingest.sandbox import QueryError
from livesegments.ingest.transform import TOPICS, Transform
from livesegments.ingest.worker import CHECKED_RECORDS
from livesegments.operations.topics import check_allowed, partition_counts
from livesegments.topic_prefix import physical, without_prefix


def source_config(settings: Settings) -> dict[str, Any]:
    """Return the configuration of clients that name topics as the broker does, as sources do."""
    return without_prefix(kafka_config(settings))


def transforms(settings: Settings, sources: Sources, chosen: Sequence[Source]) -> list[Transform]:
    """Return the transforms of sources.

    Raises
    ------
    SourcesError
        If a query or a lookup table cannot be used; names the source.
    RegistryError
        If a source needs the schema registry, and it does not answer.
    """
    registry = None
    if sources.schema_registry is not None:
        registry = SchemaRegistry(sources.schema_registry)
        registry.check()
    found = []
    for source in chosen:
        try:
            made = Transform(
                source,
                sources.table,
                registry,
                settings.currency,
                consent_required=settings.consent == "required",
            )
            found.append(made)
        except QueryError as error:
            raise SourcesError(f"source {source.name!r}: {error}") from None
    return found


def check_topics(settings: Settings, chosen: Sequence[Source], *, write: bool = True) -> int:
    """Check that all topics exist and may be used; return the partitions of the deployment's.

    Raises `SourcesError` if the topic of a source does not exist, or is one that it writes to.
    """
    config = kafka_config(settings)
    for source in chosen:
        written = [physical(config, topic) for topic in (TOPICS[source.into], DEAD_LETTERS)]
        if source.topic in written:
            raise SourcesError(
                f"source {source.name!r} reads {source.topic} and writes to it: what it sends would"
                " come back for ever"
            )
    of_sources = source_config(settings)
    counts = partition_counts(of_sources, [each.topic for each in chosen])
    for source in chosen:
        if not counts[source.topic]:
            raise SourcesError(f"source {source.name!r}: topic {source.topic} does not exist")
    targets = sorted({TOPICS[each.into] for each in chosen} | {DEAD_LETTERS})
    check_allowed(of_sources, read=list(counts))
    if not write:
        return 0
    check_allowed(config, read=(), write=targets)
    return check_partition_counts(partition_counts(config, targets), settings.topic_prefix)


def samples(
    settings: Settings, made: Sequence[Transform], most: int = CHECKED_RECORDS
) -> Iterator[tuple[Transform, list[ConsumerRecord]]]:
    """Yield the newest records of each source, once its query works on them record by record.

    Raises `SourcesError` if it does not; names the source.
    """
    config = source_config(settings)
    counts = partition_counts(config, [each.source.topic for each in made])
    with LogReader(config) as reader:
        for transform in made:
            source = transform.source
            records = _newest(reader, source.topic, counts[source.topic], most)
            try:
                transform.check(records)
            except QueryError as error:
                raise SourcesError(f"source {source.name!r}: {error}") from None
            yield transform, records


def _newest(reader: LogReader, topic: str, partitions: int, most: int) -> list[ConsumerRecord]:
    """Return about the newest records of a topic, so many at most; fewer if they are large."""
    tps = [TopicPartition(topic, number) for number in range(partitions)]
    starts, ends = reader.starts(tps), reader.stable_ends(tps)
    share = -(-most // max(1, sum(ends[tp] > starts[tp] for tp in tps)))
    found: list[ConsumerRecord] = []
    size = 0
    for batch in reader.read({tp: (max(starts[tp], ends[tp] - share), ends[tp]) for tp in tps}):
        records = [*chain.from_iterable(batch.values())]
        found += records
        size += sum(len(each.value or b"") for each in records)
        if size > ROUND_BYTES:
            break
    return found[:most]
