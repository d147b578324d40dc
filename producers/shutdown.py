"""Forced shutdown of a producer, including undelivered records."""

from contextlib import suppress

from kafka import KafkaProducer
from kafka.errors import KafkaError


def shut_down(producer: KafkaProducer, seconds: float) -> None:
    """Close a producer within about twice the seconds, dropping undelivered records.

    `KafkaProducer.close` raises if it cannot flush, without closing anything: its thread would
    continue sending in the background.
    """
    try:
        producer.close(seconds)
    except (KafkaError, AssertionError):
        producer._sender.force_close()
        with suppress(KafkaError, AssertionError):
            producer.close(seconds)
