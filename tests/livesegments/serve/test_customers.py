"""Customers that several requests ask for at the same time."""

import asyncio
from collections.abc import Sequence
from threading import Event
from typing import Any
from unittest.mock import sentinel

import pytest

from livesegments.serve.customers import CustomerReader
from livesegments.serve.problems import ProblemError, unavailable


class Reader(CustomerReader):
    """Reader that knows every customer but "nobody", and waits until it may read."""

    def __init__(self) -> None:
        super().__init__(sentinel.store, sentinel.current)
        self.asked: list[list[str]] = []
        self.may = Event()

    def read(self, customer_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        self.asked.append(list(customer_ids))
        assert self.may.wait(30)
        if "trouble" in customer_ids:
            raise unavailable("Redis is away")
        return {each: {"customer_id": each} for each in customer_ids if each != "nobody"}


async def ask(reader: Reader, wanted: Sequence[Sequence[str]]) -> list[Any]:
    """Ask for more while the first are read; then let the reader continue."""
    tasks = [asyncio.create_task(reader.find(wanted[0]))]
    while not reader.asked:
        await asyncio.sleep(0)
    tasks += [asyncio.create_task(reader.find(each)) for each in wanted[1:]]
    await asyncio.sleep(0)
    reader.may.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_requests_that_come_during_a_read_are_read_together() -> None:
    reader = Reader()
    found = asyncio.run(ask(reader, [["a"], ["b", "c"], ["nobody"], ["c"]]))
    assert reader.asked == [["a"], ["b", "c", "nobody", "c"]]
    assert [sorted(each) for each in found] == [["a"], ["b", "c"], [], ["c"]]


def test_what_is_away_is_told_to_each_and_the_next_is_read() -> None:
    reader = Reader()
    found = asyncio.run(ask(reader, [["a"], ["trouble"], ["b"]]))
    assert found[0] == {"a": {"customer_id": "a"}}
    assert [type(each) for each in found[1:]] == [ProblemError, ProblemError]
    assert asyncio.run(reader.find(["b"])) == {"b": {"customer_id": "b"}}


def test_a_client_that_leaves_takes_nothing_from_the_others() -> None:
    async def go() -> list[Any]:
        reader = Reader()
        first = asyncio.create_task(reader.find(["a"]))
        while not reader.asked:
            await asyncio.sleep(0)
        leaves, stays = (asyncio.create_task(reader.find([each])) for each in "bc")
        await asyncio.sleep(0)
        leaves.cancel()
        reader.may.set()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        return [await first, await stays]

    assert asyncio.run(go()) == [{"a": {"customer_id": "a"}}, {"c": {"customer_id": "c"}}]
