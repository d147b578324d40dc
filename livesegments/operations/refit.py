"""Manual refit: preview the changes of a new fit, and have the service adopt it."""

import time
from collections.abc import Callable, Iterable
from contextlib import closing

from livesegments.config.clients import kafka_config, open_store
from livesegments.config.settings import Settings
from livesegments.consumers.modelling.global_model import DefinitionsReader
from livesegments.consumers.modelling.refit import Request
from livesegments.model.generation import Generation
from livesegments.operations.consumer_group import count_workers
from livesegments.operations.model_loader import current_model, deployment_of, no_model, rules_of
from livesegments.operations.refit_preview import Proposal, propose
from livesegments.store.refit_requests import RefitRequests
from livesegments.topic_prefix import open_admin

LOOK_SECONDS = 0.25
Say = Callable[[str], object]


class RefitError(RuntimeError):
    """There is nothing to refit, or the service did not adopt the fit; states the remedy."""


class Refit:
    """Manual refit of one deployment; ``say`` is called with progress messages, one line each."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self._settings, self._say = settings, say
        self._config = kafka_config(settings)
        self._store = open_store(settings)
        self._requests = RefitRequests(self._store.redis, settings.group_id)
        self._deployment = deployment_of(self._store)
        self.partitions = self._deployment.partitions
        self._rules = rules_of(settings, self._deployment)

    def propose(self, *, everyone: bool = False) -> Proposal:
        """Fit the current customers, and compare the fit with the model.

        Raises
        ------
        NoModelError
            If there is no model yet.
        RefitError
            If there is no customer to fit, or partitions still adopt a generation.
        """
        current = current_model(
            self._config, self._store, self._deployment, self._rules.segmentation
        )
        generation = current.generation
        if generation is None:
            raise no_model(self._settings)
        model = current.complete({})
        if model is None:
            raise RefitError(
                f"partitions are still adopting generation {generation.number}: try again later"
            )
        try:
            return propose(self._store, self._deployment, model, self._rules, everyone=everyone)
        except ValueError as error:
            raise RefitError(
                "there is nothing to fit: fewer distinct customers than segments have a purchase in"
                " their window"
            ) from error

    def request(self, proposal: Proposal, seconds: float) -> Request:
        """Submit a fit to the owner of partition 0; the request expires after ``seconds``.

        Raises `RefitError` if no worker is running, or another request is pending.
        """
        with open_admin(**self._config) as admin:
            workers = count_workers(admin, self._settings.group_id)
        if not workers:
            raise RefitError(
                f"no worker runs in group {self._settings.group_id!r} to adopt the fit: start one"
                " (livesegments run), or only preview it (--dry-run)"
            )
        request = Request(proposal.fit.number, proposal.fit)
        if not self._requests.put(request.to_bytes(), seconds):
            raise RefitError(
                "another refit request is pending: wait for its result, then try again"
                " (livesegments refit --dry-run)"
            )
        return request

    def wait_for_generation(self, request: Request, seconds: float) -> Generation:
        """Wait until a request's generation is published; withdraw the request if it is not.

        Raises `RefitError` if it is not published in time, or another generation is published
        first.
        """
        deadline = time.monotonic() + seconds
        with closing(DefinitionsReader(self._config, self._rules.segmentation)) as reader:
            while True:
                reader.poll()
                newest = reader.generation
                if newest is not None and newest.number > request.replaces:
                    if request.is_for(newest):
                        return newest
                    raise RefitError(
                        f"generation {newest.number} was published first, by a scheduled check or"
                        " another request; this fit was for the previous one. Preview again"
                        " (livesegments refit --dry-run)"
                    )
                if time.monotonic() > deadline:
                    break
                time.sleep(LOOK_SECONDS)
        if self._requests.remove(request.to_bytes()):
            raise RefitError(
                f"no worker adopted the fit within {seconds:.0f} s, and it is withdrawn: the owner"
                " of partition 0 is busy, recovering or not running (livesegments doctor)"
            )
        raise RefitError(
            f"no generation within {seconds:.0f} s, and the request is no longer in the store: it"
            " expired, or the store lost it. Preview again (livesegments refit --dry-run)"
        )

    def wait_for_takeover(
        self, number: int, patience: float, show: Callable[[int], None] = lambda _: None
    ) -> None:
        """Wait until every partition has scored all its customers under a generation.

        ``show`` is called with the number of customers in the generation, as it grows.

        Raises `RefitError` if there is no progress for ``patience`` seconds.
        """
        before: tuple[int, int] | None = None
        moved = time.monotonic()
        while True:
            found = self._store.taken_over(number, range(self.partitions))
            done = sum(all_over for all_over, _ in found)
            now = done, self._members(data for _, data in found)
            show(now[1])
            if now != before:
                if before is None or done != before[0]:
                    self._say(f"adopted by {done} of {self.partitions} partitions")
                before, moved = now, time.monotonic()
            if done == self.partitions:
                return
            if time.monotonic() - moved > patience:
                raise RefitError(
                    f"generation {number} is published, but there was no progress for"
                    f" {patience:.0f} s: {done} of {self.partitions} partitions have adopted it."
                    " The rest follow when workers run again (livesegments doctor)"
                )
            time.sleep(LOOK_SECONDS)

    def _members(self, stored: Iterable[bytes]) -> int:
        learned = (self._rules.segmentation.estimator(learned=data) for data in stored)
        return sum(int(each.statistics.members.sum()) for each in learned)
