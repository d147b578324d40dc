"""Input of a deployment: sent at once, or arriving as long as a test needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING, Any, Self

from confluent_kafka import KafkaError, Producer

if TYPE_CHECKING:
    from tests.service import Event, Service


class Sender:
    """A producer on librdkafka, which takes a small part of kafka-python's time.

    Parameters
    ----------
    config
        Of the deployment's clients.
    seconds
        Timeout of a record.
    idempotent
        Whether no record is repeated when the broker ends: half a second more for the first.
    """

    def __init__(
        self, config: Mapping[str, Any], seconds: float = 30.0, *, idempotent: bool = False
    ) -> None:
        self._prefix, self._seconds = config.get("topic_prefix", ""), seconds
        self._failed: list[KafkaError] = []
        self._producer = Producer(
            {
                "bootstrap.servers": config["bootstrap_servers"],
                "partitioner": "murmur2_random",
                "enable.idempotence": idempotent,
                "acks": "all",
                "max.in.flight": 1,  # a retry keeps the order
                # Readers decode whole batches.
                "batch.num.messages": 500,
                "queue.buffering.max.messages": 1_000_000,
                "message.timeout.ms": round(seconds * 1_000),
                "reconnect.backoff.max.ms": 500,
                "delivery.report.only.error": True,
                "log_level": 0,
                "on_delivery": lambda error, _: self._failed.append(error),
            }
        )

    def send(self, events: Iterable[Event]) -> int:
        """Produce events and wait for acknowledgement; return their number."""
        number = 0
        for topic, key, value in events:
            self._producer.produce(self._prefix + topic, value, key)
            number += 1
        left = self._producer.flush(self._seconds)
        assert not left, f"{left} of {number} events not sent in {self._seconds} s"
        assert not self._failed, self._failed[0]
        return number


class Feed:
    """Input that keeps arriving, from a thread of its own, for the length of a ``with`` block.

    Parameters
    ----------
    service
        Destination of the events.
    make
        ``make(n, first=i)`` returns events i to i + n.
    every
        Seconds between two batches.
    portion
        Events per batch.
    first
        Number of the first event.
    """

    def __init__(
        self,
        service: Service,
        make: Callable[..., Iterable[Event]],
        *,
        every: float = 0.2,
        portion: int = 100,
        first: int = 0,
    ) -> None:
        self._service, self._make = service, make
        self._every, self._portion = every, portion
        self.sent = first
        self._stopped = Flag()
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def go_on(self, events: int) -> None:
        """Wait until that many more events have been sent."""
        enough = self.sent + events
        self._service.wait_for(lambda: self.sent >= enough or self._error, "input continues")

    def _run(self) -> None:
        try:
            sender = Sender(self._service.config, seconds=120.0, idempotent=True)
            while not self._stopped.wait(self._every):
                self.sent += sender.send(self._make(self._portion, first=self.sent))
        except BaseException as error:  # noqa: BLE001 - reported to the waiting thread
            self._error = error
