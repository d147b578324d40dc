"""Synchronization of a worker's model with the generation in the definitions topic."""

import time
from collections.abc import Callable

import structlog

from livesegments.consumers.modelling.definitions import DefinitionsReader
from livesegments.consumers.modelling.generations import Generations
from livesegments.consumers.modelling.global_model import GlobalModel
from livesegments.contracts.topics import DEFINITIONS

log = structlog.get_logger()

POLL_SECONDS = 0.5
WAIT_SECONDS = 3.0


class ModelSync:
    """Follower of the definitions topic.

    Parameters
    ----------
    definitions, model
        Source and target of generations.
    generations
        Publishes the definitions again when the topic has lost them.
    """

    def __init__(
        self, definitions: DefinitionsReader, model: GlobalModel, generations: Generations
    ) -> None:
        self._definitions, self._model, self._generations = definitions, model, generations
        self._polled_at = 0.0

    def poll_now_and_then(self) -> None:
        """Poll if it is due."""
        now = time.monotonic()
        if now - self._polled_at >= POLL_SECONDS:
            self.poll()
            self._polled_at = now

    def poll(self) -> None:
        """Adopt new definitions."""
        lost = self._definitions.went_back
        self._definitions.poll()
        if self._definitions.went_back > lost:
            log.warning("definitions are gone and will be published again", topic=DEFINITIONS)
            self._generations.describe_again()
        self._model.adopt(self._definitions.generation)

    def wait_for(self, number: int, alive: Callable[[], None]) -> None:
        """Poll until the model is at least as new as the records.

        If the topic has lost that generation, no customer is assigned until it is published again,
        by the owner of partition 0 if that still has it, or until a newer one is fitted.

        Parameters
        ----------
        number
            Newest generation of any record.
        alive
            Called between polls.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while self._model.number < number and number > self._model.floor:
            if time.monotonic() > deadline and self._definitions.has_lost(number):
                log.error(
                    "the model's generation is lost; no segment changes until there is a newer one",
                    topic=DEFINITIONS,
                    records_are_of=number,
                    newest_there=self._model.number,
                )
                self._model.do_without(number)
                return
            time.sleep(0.1)
            alive()
            self.poll()
