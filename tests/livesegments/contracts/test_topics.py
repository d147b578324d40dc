import pytest

from livesegments.contracts.topics import (
    DEAD_LETTERS,
    DEFINITIONS,
    ERASURES,
    INPUTS,
    OUTPUTS,
    PROFILES,
    PURCHASES,
    REPLAYS,
    STATES,
    PartitionCountError,
    check_partition_counts,
    topics,
)

DAY_MS = 86_400_000


def test_every_topic_is_listed_once() -> None:
    names = [topic.name for topic in topics()]
    assert sorted(names) == sorted({*INPUTS, *OUTPUTS, REPLAYS})


def test_what_holds_a_latest_value_is_compacted_and_nothing_else() -> None:
    compacted = {topic.name for topic in topics() if topic.config["cleanup.policy"] == "compact"}
    assert compacted == {PROFILES, STATES, DEFINITIONS, REPLAYS}
    assert all(
        topic.config["cleanup.policy"] == "delete"
        for topic in topics()
        if topic.name not in compacted
    )


@pytest.mark.parametrize("days", [400, 800])
def test_purchases_stay_so_many_days_and_erasures_for_good(days: int) -> None:
    retention = {
        topic.name: int(topic.config["retention.ms"])
        for topic in topics(days)
        if "retention.ms" in topic.config
    }
    assert retention[PURCHASES] == days * DAY_MS
    assert retention[ERASURES] == -1
    assert retention[DEAD_LETTERS] == 90 * DAY_MS


def test_one_count_for_all_topics_is_returned() -> None:
    assert check_partition_counts(dict.fromkeys((*INPUTS, *OUTPUTS), 12)) == 12


def test_differing_counts_are_named_with_the_way_out() -> None:
    with pytest.raises(PartitionCountError) as caught:
        check_partition_counts({PURCHASES: 12, PROFILES: 12, ERASURES: 6})
    for part in ("purchases.v1 has 12", "customer-erasures.v1 has 6", "give each topic 12"):
        assert part in str(caught.value)


def test_missing_topics_are_named_with_the_command() -> None:
    with pytest.raises(PartitionCountError, match=r"customer-erasures\.v1.*topics create"):
        check_partition_counts({PURCHASES: 12, PROFILES: 12, ERASURES: 0})
    with pytest.raises(PartitionCountError, match="topics create"):
        check_partition_counts({})
