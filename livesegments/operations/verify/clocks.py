"""Comparison of a partition's clock and the local clock with the servers' clocks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kafka.consumer.fetcher import ConsumerRecord

from livesegments.operations.verify.report import Check
from livesegments.operations.verify.store_reader import Cut, Store

TOLERANCE_US = 300_000_000
LOG_APPEND_TIME = 1
"""Timestamp type of a timestamp set by the broker."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """Time at the server of a partition, between two readings of the local clock."""

    before_us: int
    redis_us: int
    after_us: int

    @classmethod
    def read(cls, store: Store, now_us: Callable[[], int]) -> "Clocks":
        """Read the clocks."""
        before_us = now_us()
        return cls(before_us, store.time_us(), now_us())

    @property
    def latest_us(self) -> int:
        """Latest possible date of a purchase.

        Five minutes ahead of the broker, whose clock may be five minutes ahead of Redis's.
        """
        return self.redis_us + 2 * TOLERANCE_US


def check_clocks(
    check: Check, where: str, cut: Cut, clocks: Clocks, purchases: Sequence[ConsumerRecord]
) -> None:
    """Check that no clock is further ahead of another than allowed, as far as can be determined.

    The broker's clock has passed a record's timestamp. An old record says nothing about its current
    time, so the broker can be found ahead but never behind.
    """
    ahead = cut.clock_us - clocks.redis_us
    check.that(
        cut.clock_us <= clocks.latest_us,
        f"{where}: its clock is {_text(ahead)} ahead of Redis, so purchases of now do not count."
        " Once the clocks of workers and servers are right: livesegments rebuild",
    )
    ahead, behind = clocks.before_us - clocks.redis_us, clocks.redis_us - clocks.after_us
    check.that(ahead <= TOLERANCE_US, f"{where}: Redis is {_text(ahead)} behind the clock here")
    check.that(behind <= TOLERANCE_US, f"{where}: Redis is {_text(behind)} ahead of the clock here")
    last = purchases[-1] if purchases else None
    if last is not None and last.timestamp_type == LOG_APPEND_TIME:
        ahead = last.timestamp * 1_000 - max(clocks.redis_us, clocks.after_us)
        check.that(
            ahead <= TOLERANCE_US,
            f"{where}: the broker dated its last purchase {_text(ahead)} ahead of the clock here"
            " and of Redis",
        )


def _text(micros: int) -> str:
    return f"{micros / 1_000_000:,.0f} s"
