"""Publisher in a separate process, to publish a micro-batch while the next one is processed.

kafka-python takes about as long to send the outputs of a micro-batch as the processing took, and
would hold the GIL meanwhile. The protocol does not change: the store may be ahead of Kafka by one
version or by many, and one transaction is in flight at a time.

The process lives as long as its worker: it ends when the other end of its pipe is closed. A killed
worker leaves at most the one transaction it had requested, like a worker killed right after its
publication.
"""

import gc
import logging
import multiprocessing
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

from kafka.errors import AuthorizationError, KafkaError

from livesegments.producers.gc_policy import GarbageCollection
from livesegments.producers.publisher import Publisher, PublishError
from livesegments.store.outbox import Publication

HANG_SECONDS = 60.0
"""Longer than a transaction and a start can take; after that the process counts as hung.

Less if the worker may not wait that long between two polls.
"""

IDLE_SECONDS = 30.0
"""Time without a request after which garbage is collected."""

Failure: TypeAlias = tuple[str, AuthorizationError | None]
"""Error message, and the authorization error that caused it, if any."""

Answer: TypeAlias = tuple[Failure | None, int]
"""Failure, if any, and end time in microseconds since the epoch."""


def serve(connection: Connection, config: Mapping[str, Any], transactional_id: str) -> None:
    """Serve the requests of a pipe in order, until its other end is closed."""
    # The worker decides when to stop; a terminal sends Ctrl-C to both processes.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    garbage = GarbageCollection()
    publisher = Publisher(config, transactional_id)
    try:
        connection.send((None, time.time_ns() // 1_000))
        while True:
            while not connection.poll(IDLE_SECONDS):
                # kafka-python keeps the socket of each connection that a broker refuses.
                gc.collect()
            publications, membership = _received(connection)
            failure = _do(publisher, publications, membership)
            connection.send((failure, time.time_ns() // 1_000))
            garbage.collect()
    except (EOFError, OSError):
        publisher.close()


def _do(publisher: Publisher, publications: list[Publication], membership: Any) -> Failure | None:
    try:
        if membership is None:
            publisher.open()
        else:
            publisher.publish(publications, membership)
    except (KafkaError, PublishError) as error:
        publisher.abandon()
        # An exception loses its cause in a pipe.
        cause = error.__cause__ if isinstance(error, PublishError) else error
        refusal = cause if isinstance(cause, AuthorizationError) else None
        return str(error) if isinstance(error, PublishError) else repr(error), refusal
    return None


def _send(connection: Connection, publications: Sequence[Publication], membership: Any) -> None:
    # The outputs follow as they are in the store: pickling them would take three times as long.
    heads = [
        (each.partition, each.offsets, each.metadata, each.source_offsets, len(each.entries))
        for each in publications
    ]
    connection.send((heads, membership))
    for each in publications:
        for data in each.entries:
            connection.send_bytes(data)


def _received(connection: Connection) -> tuple[list[Publication], Any]:
    heads, membership = connection.recv()
    # Received completely, since the worker continues only after that.
    return [
        Publication(
            partition,
            [connection.recv_bytes() for _ in range(n)],
            offsets,
            metadata,
            source_offsets,
        )
        for partition, offsets, metadata, source_offsets, n in heads
    ], membership


class PublishingProcess:
    """Proxy of a `Publisher` in another process: begin a transaction, then get its result.

    Parameters
    ----------
    config, transactional_id
        As for `Publisher`.
    target
        Function that the process runs.
    hang_seconds
        Seconds after which a pending request is abandoned and the process killed.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        transactional_id: str,
        target: Callable[[Connection, Mapping[str, Any], str], None] = serve,
        hang_seconds: float = HANG_SECONDS,
    ) -> None:
        self._hang_seconds = hang_seconds
        self._config, self._transactional_id, self._target = config, transactional_id, target
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._give_up_at: float | None = None
        self._start()

    def _start(self) -> None:
        # A fork would copy the locks of threads that do not exist in the child.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=self._target,
            args=(theirs, dict(self._config), self._transactional_id),
            name="publisher",
            daemon=True,
        )
        self._process.start()
        theirs.close()
        self._give_up_at = time.monotonic() + HANG_SECONDS  # it reports when it is ready

    def open(self) -> None:
        """Fence an earlier producer of this id, and end its open transaction.

        Raises `PublishError`.
        """
        if self._process is None:
            self._start()
        self.finish()
        self.begin([], None)
        self.finish()

    def begin(self, publications: Sequence[Publication], membership: Any) -> None:
        """Begin publishing, as `Publisher.publish` does; one transaction at a time.

        Raises `PublishError` if the process is gone.
        """
        assert self._pipe is not None
        assert self._give_up_at is None, "one transaction at a time"
        self._give_up_at = time.monotonic() + self._hang_seconds
        try:
            _send(self._pipe, publications, membership)
        except OSError as error:
            self.kill()
            raise PublishError("the publisher's process is gone") from error

    def finish(self, *, wait: bool = True) -> int | None:
        """Return the commit time of the begun transaction, in microseconds since the epoch.

        None if nothing was begun or, without ``wait``, if it is still in progress. Raises
        `PublishError` if it did not commit, or its result is unknown.
        """
        if self._give_up_at is None:
            return None
        assert self._pipe is not None
        left = self._give_up_at - time.monotonic()
        try:
            if not self._pipe.poll(max(0.0, left) if wait else 0):
                if left > 0 and not wait:
                    return None
                raise EOFError
            failure, ended_us = self._pipe.recv()
        except (EOFError, OSError) as error:
            self.kill()
            raise PublishError("the publisher's process hung or is gone") from error
        self._give_up_at = None
        if failure is not None:
            what, refusal = failure
            raise PublishError(what) from refusal
        return int(ended_us)

    def close(self) -> None:
        """End the process once it is idle."""
        process = self._process
        if self._pipe is not None:
            self._pipe.close()
        if process is not None:
            process.join(self._hang_seconds)
        self.kill()

    def kill(self) -> None:
        """Kill the process."""
        process, self._process = self._process, None
        if self._pipe is not None:
            self._pipe.close()
        self._pipe, self._give_up_at = None, None
        if process is not None:
            process.kill()
            process.join()
