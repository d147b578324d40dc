"""Watch a running deployment until Ctrl-C, or for a number of lines."""

import json
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from functools import partial
from typing import Any

from rich.console import Console
from rich.live import Live

from livesegments.analysis.watch.pollers import ChangesTail, poll_group, poll_store, poll_topics
from livesegments.analysis.watch.polling_thread import PollingThread
from livesegments.analysis.watch.snapshot import Snapshot
from livesegments.analysis.watch.views import Frame, line
from livesegments.config.clients import kafka_config, open_store
from livesegments.config.error_messages import explain
from livesegments.config.settings import Settings

TOPICS_SECONDS, STORE_SECONDS, GROUP_SECONDS = 0.3, 1.0, 3.0
FIRST_POLL_SECONDS = 10.0


class WatchSession:
    """Polls topics, store and group, each in its own thread, for the length of a ``with`` block."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._segmentation = settings, settings.read_segmentation()
        self._began = datetime.now(UTC)
        config = kafka_config(settings)
        tail = ChangesTail(self._began.timestamp())
        say = partial(explain, settings=settings)

        def store() -> Generator[dict[str, Any]]:
            partitions = open_store(settings, 5.0)
            return poll_store(
                partitions, self._segmentation, lambda: self._topics.latest.get("generation")
            )

        self._topics = PollingThread(
            "Kafka", lambda: poll_topics(config, self._segmentation, tail), TOPICS_SECONDS, say
        )
        self._store = PollingThread("Redis", store, STORE_SECONDS, say)
        group = PollingThread(
            "Kafka", partial(poll_group, config, settings.group_id), GROUP_SECONDS, say
        )
        self._threads = [self._topics, self._store, group]

    def __enter__(self) -> "WatchSession":
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._threads:
            each.stop()

    @property
    def has_polled(self) -> bool:
        """True once each poller has had an answer or an error."""
        topics, store = self._topics.latest, self._store.latest
        waits = topics.get("generation") and store and "generation" not in store
        return not waits and all(each.latest or each.trouble for each in self._threads)

    def snapshot(self) -> Snapshot:
        """Return the latest status."""
        troubles = {
            each.trouble.why: each.trouble.since_s for each in self._threads if each.trouble
        }
        fields: dict[str, Any] = {}
        for each in self._threads:
            fields |= each.latest
        return Snapshot(
            self._settings.group_id,
            datetime.now(UTC),
            self._began,
            self._segmentation,
            troubles=tuple(
                f"{why}, since {datetime.fromtimestamp(since_s, UTC):%H:%M:%S} UTC"
                for why, since_s in troubles.items()
            ),
            **fields,
        )

    def wait_for_first_poll(self, seconds: float = FIRST_POLL_SECONDS) -> None:
        """Wait until there is something to show, up to ``seconds``."""
        deadline = time.monotonic() + seconds
        while not self.has_polled and time.monotonic() < deadline:
            time.sleep(0.05)


def draw(settings: Settings, console: Console, interval: float) -> None:
    """Draw on the terminal's alternate screen until Ctrl-C."""
    with (
        WatchSession(settings) as watch,
        Live(Frame(watch.snapshot()), console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            live.update(Frame(watch.snapshot()), refresh=True)
            time.sleep(interval)


def write_lines(
    settings: Settings,
    write: Callable[[str], object],
    *,
    interval: float,
    as_json: bool = False,
    limit: int | None = None,
) -> None:
    """Write one line per interval, as JSON or text, up to ``limit`` lines."""
    with WatchSession(settings) as watch:
        watch.wait_for_first_poll()
        lines = 0
        while True:
            now = watch.snapshot()
            write(json.dumps(now.to_dict()) if as_json else line(now))
            lines += 1
            if lines == limit:
                return
            time.sleep(interval)
