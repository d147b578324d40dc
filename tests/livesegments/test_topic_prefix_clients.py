"""Kafka clients that cannot reach a broker."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from kafka import KafkaConsumer
from kafka.errors import KafkaTimeoutError

from livesegments.local_servers import LOOPBACK, free_ports
from livesegments.topic_prefix import open_admin, open_consumer


@pytest.mark.parametrize(
    "connect",
    [lambda **config: open_consumer(KafkaConsumer, **config), open_admin],
    ids=["consumer", "admin"],
)
def test_a_try_in_vain_leaves_no_thread(
    connect: Callable[..., Any],
) -> None:
    [nobody] = free_ports(1)
    before = threading.active_count()
    for _ in range(2):
        with pytest.raises(KafkaTimeoutError):
            connect(bootstrap_servers=f"{LOOPBACK}:{nobody}", bootstrap_timeout_ms=100)
    assert threading.active_count() == before
