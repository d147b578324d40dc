"""Output checks of the doctor: whether they come from this store, and are all there."""

from collections.abc import Iterator, Sequence

from kafka import TopicPartition

from livesegments.config.clients import kafka_config
from livesegments.config.settings import Settings
from livesegments.consumers.log_reader import LogReader
from livesegments.consumers.recovery.ownership import Committed, is_current
from livesegments.contracts.cloudevents import SOURCE, source_of
from livesegments.contracts.topics import CHANGES, INPUTS, STATES
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.operations.consumer_group import offsets_of
from livesegments.operations.doctor.finding import Finding, fail
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.deployment import Deployment
from livesegments.store.partitions import Partitions
from livesegments.topic_prefix import open_admin


def look_at_outputs(
    settings: Settings,
    store: Partitions,
    agreed: Deployment,
    before: Sequence[Checkpoint | None],
    log: LogReader,
) -> Iterator[Finding]:
    """Compare the outputs with the store, whose checkpoints were read ``before``."""
    yield from _other_stores(settings, store, before)
    tps = [TopicPartition(STATES, number) for number in range(len(before))]
    yield from _other_groups(settings, before, log, tps)
    yield from _lost_states(store, agreed, before, log, tps)


def _other_stores(
    settings: Settings, store: Partitions, before: Sequence[Checkpoint | None]
) -> Iterator[Finding]:
    tps = [[TopicPartition(topic, number) for topic in INPUTS] for number in range(len(before))]
    with open_admin(**kafka_config(settings)) as admin:
        found = offsets_of(admin, settings.group_id, [tp for each in tps for tp in each])
    others = []
    after = store.checkpoints(range(len(before)))
    for number, (then, now) in enumerate(zip(before, after, strict=True)):
        committed = Committed.of([found.get(tp) for tp in tps[number]])
        if then is None or now is None or committed is None or then.nonce != now.nonce:
            continue  # nothing to compare, or taken over meanwhile
        if not is_current(now, committed):
            others.append(number)
    if others:
        yield fail(
            "store",
            f"partitions {others} were last published from another state than that of this Redis",
            "workers with another REDIS_URL may have the same GROUP_ID: stop them. Otherwise Redis"
            " has lost writes: workers rebuild the partitions from Kafka by themselves",
        )


def _other_groups(
    settings: Settings,
    before: Sequence[Checkpoint | None],
    log: LogReader,
    tps: Sequence[TopicPartition],
) -> Iterator[Finding]:
    """Find partitions whose newest state another group has published since their takeover."""
    own = source_of(settings.group_id)
    others: dict[int, str] = {}
    for newest in log.newest(tps):
        source = dict(newest.headers).get(SOURCE, own)
        checkpoint = before[newest.partition]
        if source != own and checkpoint is not None and newest.offset >= checkpoint.foreign:
            others[newest.partition] = source.decode(errors="replace")
    if others:
        yield fail(
            "outputs",
            f"the newest states of partitions {sorted(others)} are from another group"
            f" ({', '.join(sorted(set(others.values())))})",
            "two groups must not write the same topics: stop the workers of one, and restart those"
            " of the other, which then continue from the published states",
        )


def _lost_states(
    store: Partitions,
    agreed: Deployment,
    before: Sequence[Checkpoint | None],
    log: LogReader,
    tps: Sequence[TopicPartition],
) -> Iterator[Finding]:
    """Find partitions with fewer offsets than customers in segments, as after a deleted topic."""
    k, d = len(agreed.segments), len(agreed.features)
    published: dict[int, int] = {}  # number -> at least so many
    for number, each in enumerate(before):
        if each is None or each.recovering or each.rescore:
            continue  # not all is decided yet
        [data] = store.statistics_in(each.swept_generation, [number])
        counted = int(ClusterStatistics.from_bytes(data, k, d).members.sum()) if data else 0
        entries = store.load(number).outbox
        pending = sum(output.topic == STATES for entry in entries for output in entry.outputs)
        published[number] = counted - pending
    ends = log.ends(tps)  # read last: an output no longer in the outbox is published by then
    lost = [number for number, least in published.items() if ends[tps[number]] < least]
    if lost:
        yield fail(
            "outputs",
            f"partitions {lost} of {STATES} have fewer records than customers in segments: the"
            " topic was deleted and created again, or lost its end",
            f"stop all workers, delete {STATES} and {CHANGES}, create them again (livesegments"
            " topics create), and rebuild the store: livesegments rebuild",
        )
