"""The log of changes that all streams read."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.history.follower import Committed
from livesegments.serve.change_log import BURST, ChangeLog, Position
from livesegments.serve.changes_stream import BEGIN, Backlog, ChangesStream
from livesegments.serve.problems import ProblemError
from tests.livesegments.history.made import change, change_record, state_record

START = Position("5c", (0, 0))


class NoBacklog:
    """Kafka, asked for what the log no longer has: each partition's range as one frame."""

    def __init__(self) -> None:
        self.asked: list[tuple[Position, Position]] = []

    async def read(self, at: Position, until: Position) -> tuple[list[bytes], Position]:
        self.asked.append((at, until))
        return [b"backlog\n\n"], until


def committed(
    records: Sequence[ConsumerRecord] = (), nulls: Sequence[ConsumerRecord] = ()
) -> Committed:
    return Committed(records, nulls, {})


def one(name: str, version: int, offset: int, partition: int = 0) -> ConsumerRecord:
    return change_record(change(name, version), offset, partition)


def filled(count: int, kept: int = 100) -> ChangeLog:
    log = ChangeLog(kept)
    log.begin(START)
    for i in range(count):
        log.add(committed([one(f"c{i}", i, i)]), Position("5c", (i + 1, 0)))
    return log


async def take(frames: AsyncIterator[bytes], count: int) -> bytes:
    """Return the bytes of a stream once they have so many events."""
    found = b""
    async with asyncio.timeout(10):
        async for each in frames:
            found += each
            if found.count(b"\nevent: ") >= count:
                break
    return found


def ids(stream: bytes) -> list[str]:
    """Return the ids of a stream's events, after that of its begin."""
    begin, *found = [line[4:].decode() for line in stream.splitlines() if line.startswith(b"id: ")]
    assert stream.startswith(BEGIN % begin.encode())
    return found


def stream_of(log: ChangeLog, backlog: NoBacklog | None = None) -> ChangesStream:
    return ChangesStream(log, cast("Backlog", backlog or NoBacklog()))


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=5), st.sampled_from(["", "0f1e"]))
def test_a_position_survives_its_text(offsets: list[int], topic: str) -> None:
    position = Position(topic, tuple(offsets))
    assert Position.parse(str(position)) == position


@pytest.mark.parametrize("text", ["x", "5c-", "5c-1.x", "5c-1..2", "5c--1", "5c-" + "9" * 30])
def test_other_texts_are_no_position(text: str) -> None:
    with pytest.raises(ProblemError) as raised:
        asyncio.run(stream_of(filled(1)).open(text))
    assert raised.value.status == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize("text", ["aa-0.0", "5c-0", "5c-9.0"])
def test_a_position_of_other_topics_is_gone(text: str) -> None:
    with pytest.raises(ProblemError) as raised:
        asyncio.run(stream_of(filled(1)).open(text))
    assert raised.value.status == HTTPStatus.GONE


def test_before_the_history_is_read_there_is_no_stream() -> None:
    with pytest.raises(ProblemError) as raised:
        asyncio.run(stream_of(ChangeLog()).open(""))
    assert raised.value.status == HTTPStatus.SERVICE_UNAVAILABLE


def test_a_stream_begins_now_and_goes_on() -> None:
    async def go() -> bytes:
        log = filled(3)
        frames = await stream_of(log).open("")
        asyncio.get_running_loop().call_later(
            0.05, log.add, committed([one("new", 9, 3)]), Position("5c", (4, 0))
        )
        return await take(frames, 1)

    found = asyncio.run(go())
    assert found.startswith(BEGIN % b"5c-3.0")  # resumes from here if it breaks before an event
    assert ids(found) == ["5c-4.0"]
    assert b'data: {"customer_id":"new"' in found


def test_it_resumes_after_the_last_event_without_gap_or_repeat() -> None:
    async def go(last: str, count: int) -> list[str]:
        return ids(await take(await stream_of(filled(5)).open(last), count))

    everything = asyncio.run(go("5c-0.0", 5))
    assert everything == [f"5c-{i}.0" for i in range(1, 6)]
    for i, each in enumerate(everything[:-1], 1):
        assert asyncio.run(go(each, 5 - i)) == everything[i:]


def test_what_the_log_no_longer_has_comes_from_kafka() -> None:
    async def go() -> tuple[bytes, NoBacklog]:
        backlog = NoBacklog()
        frames = await stream_of(filled(10, kept=4), backlog).open("5c-2.0")
        return await take(frames, 4), backlog

    found, backlog = asyncio.run(go())
    assert backlog.asked == [(Position("5c", (2, 0)), Position("5c", (6, 0)))]
    assert found.startswith(BEGIN % b"5c-2.0")
    assert found.index(b"backlog") < found.index(b"id: 5c-7.0")
    assert ids(found) == [f"5c-{i}.0" for i in range(7, 11)]


def test_a_slow_reader_is_ended_and_memory_stays_bounded() -> None:
    async def go() -> tuple[int, int]:
        log = filled(1, kept=50)
        stream = stream_of(log)
        frames = await stream.open("5c-0.0")
        await take(frames, 1)  # and then nothing for a long time
        for i in range(1, 1_000):
            log.add(committed([one("c", i, i)]), Position("5c", (i + 1, 0)))
        rest = [each async for each in frames]
        return len(log._events), sum(each.count(b"id: ") for each in rest)

    assert asyncio.run(go()) == (50, 0)


def test_bursts_are_bounded() -> None:
    async def go() -> list[int]:
        frames = await stream_of(filled(BURST * 2 + 5, kept=BURST * 3)).open("5c-0.0")
        sizes = []
        async for each in frames:
            sizes.append(each.count(b"event: "))
            if sum(sizes) == BURST * 2 + 5:
                return sizes
        raise AssertionError

    assert max(asyncio.run(go())) == BURST


def test_of_a_forgotten_customer_only_that_is_told() -> None:
    async def go() -> bytes:
        log = filled(0)
        log.add(committed([one("ann", 1, 0), one("bob", 1, 1)]), Position("5c", (2, 0)))
        erased = [one("ann", 2, 2), one("ann", 3, 3)]  # 3: she bought again
        log.add(committed(erased, [state_record("ann", 2, 9)]), Position("5c", (4, 0)))
        return await take(await stream_of(log).open("5c-0.0"), 3)

    found = asyncio.run(go())
    assert [line for line in found.splitlines() if line.startswith(b"event: ")] == [
        *(b"event: change", b"event: forgotten", b"event: change"),
    ]
    assert found.count(b'"version":1') == 1 * 2  # bob's change: its own, and that of the model
    assert b'event: forgotten\ndata: {"customer_id":"ann"}' in found


def test_a_null_that_is_read_after_the_return_is_told_before_it() -> None:
    """As when a server was down: the changes are read first."""
    log = filled(0)
    log.add(committed([one("ann", 3, 0)]), Position("5c", (1, 0)))
    log.add(committed(nulls=[state_record("ann", 2, 9)]), Position("5c", (1, 0)))
    [frame], _ = log.read(log.place(START) or 0, START)
    assert frame.index(b"event: forgotten") < frame.index(b"id: 5c-1.0\nevent: change")


def test_a_customer_who_is_back_is_not_forgotten_by_streams_that_begin_later() -> None:
    async def go(last: str) -> bytes:
        log = filled(0)
        log.add(committed([one("ann", 1, 0)]), Position("5c", (1, 0)))
        log.add(committed(nulls=[state_record("ann", 2, 9)]), Position("5c", (1, 0)))
        log.add(committed([one("ann", 3, 1)]), Position("5c", (2, 0)))
        frames = await stream_of(log).open(last)
        log.add(committed([one("bob", 4, 0, partition=1)]), Position("5c", (2, 1)))
        return await take(frames, 1)

    assert b"forgotten" not in asyncio.run(go(""))
    assert b"forgotten" not in asyncio.run(go("5c-2.0"))
    assert b"forgotten" in asyncio.run(go("5c-1.0"))


def test_changes_read_anew_by_a_rebuild_are_not_sent_again() -> None:
    log = filled(3)
    log.add(committed([one(f"c{i}", i, i) for i in range(4)]), Position("5c", (4, 0)))
    frames, _ = log.read(log.place(START) or 0, START)
    assert len(frames) == 4


def test_a_value_with_line_breaks_stays_one_event() -> None:
    log = filled(0)
    record = one("a", 1, 0)._replace(value=b'{\n"x":\r\n1}')
    log.add(committed([record]), Position("5c", (1, 0)))
    frames, _ = log.read(log.place(START) or 0, START)
    assert frames[0].endswith(b'data: {\ndata: "x":\ndata: 1}\n\n')


def test_closing_ends_all_streams() -> None:
    async def go() -> None:
        log = filled(1)
        frames = await stream_of(log).open("")
        asyncio.get_running_loop().call_later(0.05, log.close)
        async with asyncio.timeout(5):
            assert b"".join([each async for each in frames]).startswith(BEGIN % b"5c-1.0")

    asyncio.run(go())
