"""Time is attributed to the right stages; inputs are tiny, so the figures mean nothing."""

import pytest

from bench.profile import STAGES, Calls, Span, function_table, run, stage_table, while_busy
from bench.report import Table
from bench.throughput import produce, segment, wait_for_worker
from tests.servers import KafkaServer, RedisServer


def span(stage: str, began: float, wall: float = 1.0, thread: float = 0.5) -> Span:
    return Span(stage, began, wall, thread, process=wall)


def rounds(*stages: str) -> list[Span]:
    return [span(stage, float(i)) for i, stage in enumerate(stages)]


def test_idle_polls_before_and_after_the_work_are_left_out() -> None:
    spans = rounds("poll", "poll", "poll", "decode", "publish", "poll", "decode", "publish", "poll")
    assert while_busy(spans) == spans[2:8]


def test_idle_polls_between_rounds_count() -> None:
    spans = rounds("poll", "decode", "publish", "poll", "poll", "decode", "publish")
    assert while_busy(spans) == spans


def test_stages_and_what_is_between_them_make_the_whole() -> None:
    spans = [span("poll", 0), span("decode", 1), span("commit", 3), span("publish", 4, wall=2)]
    table = stage_table(spans, events=1_000_000)
    wall = {name: float(cell) for name, cell, *_ in table.rows}
    assert wall.pop("all") == 6
    assert wall["between stages"] == 1
    assert sum(wall.values()) == 6
    [publish] = [row for row in table.rows if row[0] == "publish"]
    assert publish == ("publish", "2.00", "33%", "0.50", "1.50", "1")


def test_functions_are_told_by_stage_when_dear_by_either_measure() -> None:
    calls: Calls = {
        ("publish", "outer"): (1, 0.0, 9.0),
        ("publish", "inner"): (10, 5.0, 5.0),
        ("poll", "inner"): (10, 2.0, 2.0),
        ("poll", "cheap"): (10, 0.1, 0.1),
    }
    table = function_table(calls, events=10, top=1)
    assert [row[0].split() for row in table.rows] == [["publish", "outer"], ["publish", "inner"]]
    assert table.rows[1][1:] == ("500000.00", "500000.00", "1.000")


def test_tables_below_are_printed_and_told_in_json() -> None:
    above, below = Table("Above", ("", "n")), Table("Below", ("", "n"))
    below.add("row", "1")
    above.more.append(below)
    assert [line for line in above.lines() if not line.startswith(" ")] == ["Above", "Below"]
    assert above.to_dict()["more"] == [below.to_dict()]


@pytest.fixture
def small_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings for many micro-batches from little input, with a model in the first one."""
    monkeypatch.setenv("LIVESEGMENTS_MAX_POLL_RECORDS", "500")
    monkeypatch.setenv("LIVESEGMENTS_WARMUP_CUSTOMERS", "50")


@pytest.mark.servers
@pytest.mark.usefixtures("small_rounds")
def test_a_worker_is_timed_to_its_last_offset(
    fresh_kafka: KafkaServer, fresh_redis: RedisServer
) -> None:
    produce(fresh_kafka.bootstrap, 4_000)
    seconds, cpu = segment(fresh_kafka, fresh_redis)
    assert 0 < seconds < 60
    assert cpu > 0


@pytest.mark.servers
def test_a_worker_that_ends_early_is_an_error(
    fresh_kafka: KafkaServer, fresh_redis: RedisServer
) -> None:
    with pytest.raises(RuntimeError, match="ended before"):
        wait_for_worker(fresh_kafka, fresh_redis, lambda: False)


@pytest.mark.servers
@pytest.mark.usefixtures("small_rounds")
def test_a_profile_has_every_stage_and_functions_of_each_side() -> None:
    table = run(events=4_000)
    assert [row[0] for row in table.rows] == [*STAGES, "between stages", "all"]
    assert all(float(row[1]) > 0 for row in table.rows)
    [functions] = table.more
    names = {row[0] for row in functions.rows}
    assert any("consumers/" in name for name in names)
    assert any("kafka/consumer" in name for name in names)
