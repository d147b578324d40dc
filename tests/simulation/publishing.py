"""A publisher that publishes at once, or only when the worker waits for it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from livesegments.producers.publisher import Publisher, PublishError
from livesegments.store.outbox import Publication


class LatePublisher(Publisher):
    """Publishes when asked to, or as late as possible.

    Parameters
    ----------
    config, transactional_id
        As for `Publisher`.
    is_late
        Returns whether the running publication takes longer.
    """

    def __init__(
        self, config: Mapping[str, Any], transactional_id: str, is_late: Callable[[], bool]
    ) -> None:
        super().__init__(config, transactional_id)
        self._is_late = is_late
        self._asked: tuple[list[Publication], Any] | None = None
        self._error: PublishError | None = None

    def begin(self, publications: Sequence[Publication], membership: Any) -> None:
        assert self._asked is None, "one transaction at a time"
        self._asked = list(publications), membership
        if not self._is_late():
            self._go_on()

    def finish(self, *, wait: bool = True) -> int | None:
        if self._asked is not None:
            if not wait and self._is_late():
                return None
            self._go_on()
        error, self._error = self._error, None
        if error is not None:
            raise error
        return super().finish()

    def _go_on(self) -> None:
        asked, self._asked = self._asked, None
        assert asked is not None
        try:
            super().begin(*asked)
        except PublishError as error:
            self._error = error
