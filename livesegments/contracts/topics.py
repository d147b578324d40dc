"""The topics, how they are to be created, and what must hold among them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

PURCHASES = "purchases.v1"
PROFILES = "customer-profiles.v1"
ERASURES = "customer-erasures.v1"
CHANGES = "segment-changes.v1"
STATES = "customer-segments.v1"
DEFINITIONS = "segment-definitions.v1"
DEAD_LETTERS = "livesegments.dead-letters.v1"

REPLAYS = "livesegments.dead-letter-replays.v1"

INPUTS = (PURCHASES, PROFILES, ERASURES)
OUTPUTS = (CHANGES, STATES, DEFINITIONS, DEAD_LETTERS)
"""What workers write; `REPLAYS` is written by ``livesegments dead-letters replay`` alone."""

RETENTION_DAYS = 400
DEFAULT_PARTITIONS = 4
FOR_GOOD = "-1"
_DEAD_LETTER_DAYS = 90
_TOMBSTONE_DAYS = 7


class PartitionCountError(ValueError):
    """The topics do not have one partition count, so a partition number owns no customer."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic: its name, contents and broker configuration."""

    name: str
    description: str
    config: Mapping[str, str]


def configured(prefix: str, retention_days: int, skipped: Collection[str]) -> tuple[Topic, ...]:
    """Return every topic under a prefix, without the configurations that a broker does not take.

    Raises
    ------
    ValueError
        If no topic has one of these configurations.
    """
    wanted = topics(retention_days)
    known = sorted({name for topic in wanted for name in topic.config})
    if unknown := [name for name in skipped if name not in known]:
        raise ValueError(f"{unknown[0]} is not set by any topic, but {', '.join(known)}")
    return tuple(
        _topic(
            prefix + topic.name,
            topic.description,
            {name: value for name, value in topic.config.items() if name not in skipped},
        )
        for topic in wanted
    )


def topics(retention_days: int = RETENTION_DAYS) -> tuple[Topic, ...]:
    """Every topic as it is to be created.

    Parameters
    ----------
    retention_days
        How long purchases and changes stay: at least the feature window, for Redis is rebuilt from
        them. Erasures stay for good, or a rebuilt store would not know the suppressed customers;
        they are not compacted, or a later `restore` would hide an `erase`.
    """
    # Arrival sets the timestamps: old purchases that are replayed must not be deleted at once, and
    # a producer's wrong clock must not pass for the broker's.
    arrivals = {"message.timestamp.type": "LogAppendTime"}
    return (
        _topic(PURCHASES, "Purchases and refunds", _delete(retention_days) | arrivals),
        _topic(PROFILES, "Latest profile of each customer; null deletes it", _compact() | arrivals),
        _topic(
            ERASURES,
            "Requests to erase, suppress or restore a customer",
            {"cleanup.policy": "delete", "retention.ms": FOR_GOOD} | arrivals,
        ),
        _topic(CHANGES, "Every change of a customer's segment", _delete(retention_days)),
        _topic(
            STATES,
            "Current segment of each customer; null if nothing is kept of the customer",
            _compact(),
        ),
        _topic(DEFINITIONS, "What each segment means today", _compact()),
        # Larger than an input record of the default limit, for it adds headers to one.
        _topic(
            DEAD_LETTERS,
            "Records that can never be processed",
            _delete(_DEAD_LETTER_DAYS) | {"max.message.bytes": str(2 * 1024 * 1024)},
        ),
        # A mark has to outlive its dead letter, however long that one is kept.
        _topic(REPLAYS, "Which dead letters were sent again", _compact()),
    )


def check_partition_counts(counts: Mapping[str, int], prefix: str = "") -> int:
    """Find the one partition count of the topics.

    Parameters
    ----------
    counts
        Partitions by topic; 0 for a topic that does not exist.
    prefix
        Prefix of the topics' names, for the message.

    Raises
    ------
    PartitionCountError
        A topic is missing or has another count than the others.
    """
    missing = sorted(prefix + topic for topic, count in counts.items() if count < 1)
    if missing or not counts:
        deleted = (
            "; if one was deleted, restore it with its records" if any(counts.values()) else ""
        )
        raise PartitionCountError(
            f"missing topics: {', '.join(missing) or 'all'}; "
            f"create them with `livesegments topics create`{deleted}"
        )
    if len(set(counts.values())) > 1:
        listing = ", ".join(
            f"{prefix}{topic} has {count}" for topic, count in sorted(counts.items())
        )
        raise PartitionCountError(
            f"topics differ in their number of partitions: {listing}; one partition number must "
            f"own one customer in all of them, so give each topic {max(counts.values())} "
            "partitions. Adding partitions moves customers: create the smaller topics again, or "
            "copy all to new topics with one count, with the service stopped"
        )
    return next(iter(counts.values()))


def _topic(name: str, description: str, config: Mapping[str, str]) -> Topic:
    return Topic(name, description, MappingProxyType(dict(config)))


def _delete(days: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": _milliseconds(days)}


def _compact() -> dict[str, str]:
    # A reader that was away for less than this still sees every deletion, and what an erased
    # customer had before is gone from the log after about as long again.
    return {
        "cleanup.policy": "compact",
        "delete.retention.ms": _milliseconds(_TOMBSTONE_DAYS),
        "max.compaction.lag.ms": _milliseconds(_TOMBSTONE_DAYS),
    }


def _milliseconds(days: int) -> str:
    return str(days * 24 * 60 * 60 * 1000)
