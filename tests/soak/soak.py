"""Injects faults one after another, and verifies."""

import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from livesegments.contracts.topics import CHANGES, DEAD_LETTERS
from livesegments.operations.verify import Report
from tests.sending import Feed
from tests.service import Service
from tests.soak.input import Input
from tests.soak.tally import Plan, Tally
from tests.soak.workers import Place, publishers, send

SESSION_SECONDS = 2.0
SETTINGS = {
    "SESSION_TIMEOUT_SECONDS": str(SESSION_SECONDS),
    "MAX_POLL_INTERVAL_SECONDS": "20",
    "WINDOW_DAYS": "30",
}
OWNING_SECONDS = 15.0
UNREACHABLE = ("cannot be reached", "(LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS)")
"""What a worker says when a server goes away while it starts."""
SETTLE_SECONDS = 180.0
PORTIONS_A_SECOND = 4


class Soak:
    """One run on a deployment without workers.

    Parameters
    ----------
    service
        The deployment, with `SETTINGS`.
    folder
        Folder of the store's copies.
    seed
        Seed of all random choices.
    rate
        Events per second.
    tell
        Called with a line of progress now and then.
    """

    def __init__(
        self,
        service: Service,
        folder: Path,
        seed: int,
        rate: int = 200,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._service, self._copy, self._rate, self._tell = service, folder / "copy.rdb", rate, tell
        self._rng = random.Random(seed)
        self._input = Input(seed)
        self._started = self._told = time.monotonic()
        self._feed: Feed | None = None
        self.tally = Tally(seed)
        self._places = [self._place(name) for name in ("one", "two")]

    def run(self, plan: Plan, minutes: float = 0.0) -> Tally:
        """Repeat a plan until the minutes are over or a fault is found."""
        while not self.tally.faults:
            drawn = plan.drawn(self._rng)
            for at in range(0, len(drawn), plan.verify_every):
                self._break(drawn[at : at + plan.verify_every])
                if not self.tally.faults:
                    self._verify()
                if self.tally.faults:
                    break
            if time.monotonic() - self._started >= minutes * 60:
                break
        self._count()
        return self.tally

    def _break(self, faults: list[str]) -> None:
        make, portion = self._input, self._rate // PORTIONS_A_SECOND
        with Feed(
            self._service,
            make,
            every=1 / PORTIONS_A_SECOND,
            portion=portion,
            first=self.tally.events - self.tally.repeats,
        ) as self._feed:
            for fault in faults:
                getattr(self, f"_{fault}")()
                setattr(self.tally, fault, getattr(self.tally, fault) + 1)
        self._pass(0)

    def _verify(self) -> None:
        for place in self._places:
            self._wake(place)
        try:
            self._service.wait(SETTLE_SECONDS)
        except AssertionError as error:
            self.tally.faults.append(str(error))
            return
        report: Report = self._service.report()
        self.tally.verifications += 1
        self.tally.faults += [
            f"{check.name}: {fault}" for check in report.checks for fault in check.faults
        ]
        self._tell(self.tally.line())

    # -- faults

    def _kills(self) -> None:
        place = self._victim()
        self.tally.kills_of_owners += place.owns
        if self._rng.random() < 0.7:
            send(signal.SIGKILL, -place.worker.pid)
        else:  # the publisher's process exits by itself, after the work requested so far
            place.worker.kill()
        place.worker.wait()
        self._replace(place)

    def _publisher_kills(self) -> None:
        place = self._victim()
        # A worker that starts has its publisher forked, but cannot do without it yet.
        for publisher in publishers(place.worker.pid) if place.owns else ():
            send(signal.SIGKILL, publisher)

    def _stops(self) -> None:
        place = self._victim()
        rng = self._rng
        # A moment, past the session timeout, or past the transaction timeout as well.
        low, high = rng.choice([(0.1, 1.0), (SESSION_SECONDS + 1, 8.0), (10.5, 13.0)])
        seconds = rng.uniform(low, high)
        self.tally.stops_past_session += seconds > SESSION_SECONDS
        whole, alone = [-place.worker.pid], publishers(place.worker.pid)
        for pid in rng.choice([whole, whole, [place.worker.pid], alone]):
            send(signal.SIGSTOP, pid)
        place.wake_at = time.monotonic() + seconds

    def _rollbacks(self) -> None:
        self._service.redis_server.save(self._copy)
        self._pass(self._rng.uniform(1, 4))
        self._service.redis_server.roll_back(self._copy)

    def _emptyings(self) -> None:
        self._pass(self._rng.uniform(0, 2))
        self._service.client.flushall()

    def _broker_kills(self) -> None:
        self._service.kafka.kill()
        self._pass(self._rng.uniform(0.5, 5))
        self._service.kafka.start()

    def _victim(self) -> Place:
        """Return a running worker, usually in the middle of a micro-batch."""
        patient = self._rng.random() < 0.85
        give_up = time.monotonic() + OWNING_SECONDS
        while True:
            awake = [place for place in self._places if place.wake_at is None]
            owning = [place for place in awake if place.owns]
            if owning or (awake and (not patient or time.monotonic() > give_up)):
                break
            self._pass(0.05)
        place = self._rng.choice(owning if patient and owning else awake)
        self._pass(self._rng.uniform(0, 2))
        return place

    # -- workers

    def _place(self, name: str) -> Place:
        worker = self._service.start(INSTANCE_ID=name)
        return Place(name, worker, self._service.logs[-1])

    def _replace(self, place: Place) -> None:
        # A pod keeps its name; a worker without one leaves open transactions to their timeout.
        name = place.name if self._rng.random() < 0.7 else ""
        place.worker, place.wake_at = self._service.start(INSTANCE_ID=name), None
        place.log = self._service.logs[-1]

    def _wake(self, place: Place) -> None:
        send(signal.SIGCONT, -place.worker.pid)
        place.wake_at = None

    def _pass(self, seconds: float) -> None:
        """Let time pass, resume stopped workers when due, and check that none exited by itself."""
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            for place in self._places:
                if place.wake_at is not None and now >= place.wake_at:
                    self._wake(place)
                if place.worker.poll() is not None:
                    self._ended(place)
            self.tally.seconds = now - self._started
            if self._feed is not None:
                self.tally.repeats = self._input.repeats
                self.tally.events = self._feed.sent + self.tally.repeats
            if now - self._told > 10:
                self._told = now
                self._tell(self.tally.line())
            if now >= until:
                return
            time.sleep(min(0.05, until - now))

    def _ended(self, place: Place) -> None:
        """Replace a worker that exited by itself, as it may at its start when a server is down."""
        end = place.log.read_text()[-2_000:]
        if place.owns or not any(said in end for said in UNREACHABLE):
            code = place.worker.returncode
            self.tally.faults.append(f"a worker ended by itself, exit code {code}:\n{end}")
        self._replace(place)

    def _count(self) -> None:
        self.tally.seconds = time.monotonic() - self._started
        verdicts = Counter(
            verdict
            for log in self._service.logs
            for verdict in re.findall(r'"verdict": "(\w+)"', log.read_text())
        )
        self.tally.takeovers, self.tally.recoveries = verdicts.total(), verdicts["recover"]
        self.tally.changes = len(self._service.records(CHANGES))
        self.tally.dead_letters = len(self._service.records(DEAD_LETTERS))
