"""How fast sweeps may go: their changes come by the thousand, and somebody acts on each."""

SWEPT = frozenset({"expiry", "model", "recovery"})
"""Origins of the changes that sweeps make."""


class SweepRateLimiter:
    """Holds sweeps back so that a worker's changes stay below a rate.

    A stretch of a sweep that made changes is followed by the pause that they take at that rate.
    Nothing is queued: what is not walked over yet is simply scored later, by the model and the
    clock of then. Live events are never held back.

    Parameters
    ----------
    per_second
        Most changes a second; 0 for no bound.

    Examples
    --------
    >>> pace = SweepRateLimiter(100)
    >>> pace.made(250, now_s=10.0)
    >>> pace.pause(10.0), pace.pause(12.0), pace.pause(12.5)
    (2.5, 0.5, 0.0)
    """

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._free_at = float("-inf")

    def pause(self, now_s: float) -> float:
        """Return for how many seconds sweeps have to stand still yet."""
        return max(0.0, self._free_at - now_s)

    def made(self, changes: int, now_s: float) -> None:
        """Note the changes that sweeps have just made."""
        if self._per_second and changes:
            self._free_at = max(self._free_at, now_s) + changes / self._per_second
