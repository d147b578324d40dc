"""End a producer for good, whatever it still holds."""

from contextlib import suppress

from kafka import KafkaProducer
from kafka.errors import KafkaError


def shut_down(producer: KafkaProducer, seconds: float) -> None:
    """Close a producer within about twice the seconds; what is not delivered by then is dropped.

    `KafkaProducer.close` raises when it cannot flush, and then has closed nothing: its thread
    would go on sending in the background.
    """
    try:
        producer.close(seconds)
    except (KafkaError, AssertionError):
        producer._sender.force_close()
        with suppress(KafkaError, AssertionError):
            producer.close(seconds)
